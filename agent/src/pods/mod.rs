//! Containers that a runtime brings by the CNI plugin: their addresses come from subnets that are leased to this host, and their ports
//! are made here; the controller hears of them afterwards.

mod check;
pub mod error;
pub mod lease;
mod mac;
pub mod overlay;
mod owner;
mod policy;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use andromede_model::{MacAddress, NetworkName, NetworkView, Prefix, SecurityGroupName, ValueError};
use andromede_proto::local::v1::{
    AddPodRequest, Attachment, CheckPodRequest, CollectPodsRequest, LeasedAddress, PodInterface, Route,
};
use tokio::sync::Mutex;

use self::{
    error::PodError,
    lease::{Clock, Lease, Owner, PodName, Wish},
};
use crate::{
    host::veth::Workload,
    reconcile::Reconciler,
    shared::Shared,
    workloads::{Made, Workloads},
};

/// Most bytes of a name that a runtime gives; Kubernetes has at most 253.
const LONGEST_NAME: usize = 512;

/// Serves the commands of the plugin.
#[derive(Debug)]
pub struct Pods {
    shared: Arc<Shared>,
    reconciler: Arc<Mutex<Reconciler>>,
    workloads: Arc<Workloads>,
    /// One command that changes something at a time: a second ADD of a container must not end the lease of the first.
    turn: Mutex<()>,
}

impl Pods {
    /// On this host.
    pub fn new(shared: Arc<Shared>, reconciler: Arc<Mutex<Reconciler>>, workloads: Arc<Workloads>) -> Self {
        Self { shared, reconciler, workloads, turn: Mutex::new(()) }
    }

    /// Gives a container its interface. A lease that is there, because the agent was killed or the machine started anew, is used again.
    pub async fn add(&self, request: AddPodRequest) -> Result<PodInterface, PodError> {
        let owner = owner(request.attachment.as_ref())?;
        let network: NetworkName = request.network.parse().map_err(PodError::name)?;
        let wish = wish(&request, &network)?;
        let infrastructure = infrastructure(&request, &network)?;
        let mut turn = self.turn.lock().await;
        let known = self.shared.leases().get(&owner).cloned();
        let lease = match known.clone() {
            Some(lease) if lease.port.network() == network => lease,
            Some(_) => return Err(exists(owner)),
            None => self.lease(&owner, &network, infrastructure.as_ref(), wish).await?,
        };
        if lease.by_policy {
            // Others go on meanwhile, and whoever deletes the container ends the wait.
            drop(turn);
            policy::wait(&self.shared, &self.reconciler, &owner, &lease, request.policy_wait_seconds).await;
            turn = self.turn.lock().await;
            if self.shared.leases().get(&owner) != Some(&lease) {
                return Err(PodError::Deleted);
            }
        }
        let _turn = turn;
        match self.workloads.make(lease.port.as_str(), Path::new(&request.netns), &owner.interface).await {
            Ok(made) if made.was_there => Err(exists(owner)),
            Ok(made) => Ok(answer(&lease, &made)),
            Err(error) => {
                // Whoever is refused has nothing, and need not delete. What was there before stays.
                if known.is_none() {
                    self.end(&owner).await?;
                }
                Err(error.into())
            }
        }
    }

    /// A new lease.
    async fn lease(
        &self,
        owner: &Owner,
        network: &NetworkName,
        infrastructure: Option<&NetworkName>,
        wish: Wish,
    ) -> Result<Lease, PodError> {
        let mut reconciler = self.reconciler.lock().await;
        // The network may have come with an update that no pass has seen yet.
        let mut networks = std::iter::once(network).chain(infrastructure);
        if self.shared.leases_are_lost() || networks.any(|network| reconciler.views().network(network).is_none()) {
            let progress = reconciler.pass().await;
            if self.shared.leases_are_lost() {
                return Err(PodError::Limited(progress.error));
            }
        }
        let host = &self.shared.config.host;
        let view = |network: &NetworkName| {
            let view = reconciler.views().network(network);
            view.ok_or_else(|| PodError::NoSubnet { network: network.to_string(), host: host.to_string() })
        };
        let (view, infrastructure) = (view(network)?, infrastructure.map(view).transpose()?);
        check_groups(view, &wish.groups)?;
        let clock = self.clock();
        self.shared.change_leases(|leases| leases.grant(view, infrastructure, host, owner, wish, clock))
    }

    /// Takes an interface away and ends its lease; no error if there is none.
    pub async fn delete(&self, attachment: Option<&Attachment>) -> Result<(), PodError> {
        let owner = owner(attachment)?;
        let _turn = self.turn.lock().await;
        self.end(&owner).await
    }

    /// The interface goes first: until it is gone its addresses are in use.
    async fn end(&self, owner: &Owner) -> Result<(), PodError> {
        let Some(lease) = self.shared.leases().get(owner).cloned() else {
            if self.shared.leases_are_lost() {
                self.workloads.detach_id(&owner.port_id()).await?;
                self.shared.wake();
            }
            return Ok(());
        };
        self.workloads.detach(lease.port.as_str()).await?;
        let clock = self.clock();
        self.shared.change_leases(|leases| Ok::<_, PodError>(leases.end(owner, clock)))?;
        self.shared.wake();
        Ok(())
    }

    /// Is an interface still as it was made?
    pub async fn check(&self, request: &CheckPodRequest) -> Result<(), PodError> {
        let owner = owner(request.attachment.as_ref())?;
        let lease = self.shared.leases().get(&owner).cloned();
        let lease =
            lease.ok_or_else(|| PodError::NotAsMade("it has no lease of an address on this host".to_owned()))?;
        check::told(request, &lease)?;
        let port = lease.port.as_str();
        let workload = self.workloads.describe(port, &owner.interface).await?;
        let attached = self.shared.attached().get(port).cloned();
        let attached = attached.ok_or_else(|| PodError::NotAsMade("its interface is gone".to_owned()))?;
        check::interface(self.workloads.netlink(), Path::new(&request.netns), &workload, &attached).await?;
        check::rules(&self.reconciler, attached.ifindex).await
    }

    /// Ends every lease of a network configuration whose owner is not in the list. Goes on after an error.
    pub async fn collect(&self, request: &CollectPodsRequest) -> Result<(), PodError> {
        let valid: Result<BTreeSet<Owner>, _> =
            request.valid.iter().map(|attachment| owner(Some(attachment))).collect();
        let valid = valid?;
        let _turn = self.turn.lock().await;
        let leases = self.shared.leases();
        let owners = leases.iter().map(|(owner, _)| owner);
        let stale = owners.filter(|owner| owner.configuration == request.configuration && !valid.contains(*owner));
        let mut result = Ok(());
        for owner in stale {
            tracing::warn!(container = owner.container, interface = owner.interface, "no longer valid; removed");
            result = result.and(self.end(owner).await);
        }
        result
    }

    /// Could an addition be served?
    pub async fn status(&self, network: &str) -> Result<(), PodError> {
        let network: NetworkName = network.parse().map_err(PodError::name)?;
        let mut reconciler = self.reconciler.lock().await;
        let progress = reconciler.pass().await;
        if !progress.error.is_empty() {
            return Err(PodError::Limited(progress.error));
        }
        let host = &self.shared.config.host;
        let view = reconciler.views().network(&network);
        let view = view.ok_or_else(|| PodError::NoSubnet { network: network.to_string(), host: host.to_string() })?;
        let nobody = Owner { container: String::new(), interface: String::new(), configuration: String::new() };
        // A trial on a copy.
        let mut leases = self.shared.leases();
        leases.grant(view, None, host, &nobody, Wish::default(), self.clock()).map(drop)
    }

    fn clock(&self) -> Clock {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Clock { now, quarantine: self.shared.config.address_quarantine.as_secs() }
    }
}

fn exists(owner: Owner) -> PodError {
    let Owner { container, interface, configuration } = owner;
    PodError::Exists { container, interface, configuration }
}

fn answer(lease: &Lease, made: &Made) -> PodInterface {
    let Workload { interface, mtu, routers, .. } = &made.workload;
    let address = |(address, length): &(IpAddr, u8)| {
        // One that stands for the container's own is in no subnet.
        let stands_for_own = !made.workload.infrastructure.is_empty();
        let router = routers.iter().find(|router| !stands_for_own && router.is_ipv4() == address.is_ipv4());
        let gateway = router.map(ToString::to_string).unwrap_or_default();
        LeasedAddress { address: format!("{address}/{length}"), gateway }
    };
    let route = |(destination, gateway): (Prefix, IpAddr)| Route {
        destination: destination.to_string(),
        gateway: gateway.to_string(),
    };
    PodInterface {
        interface: interface.clone(),
        mac: lease.mac.to_string(),
        mtu: *mtu,
        host_interface: made.outer.name.clone(),
        host_mac: MacAddress::new(made.outer.mac).map(|mac| mac.to_string()).unwrap_or_default(),
        addresses: made.workload.known_by().iter().map(address).collect(),
        port: lease.port.to_string(),
        routes: made.workload.routes().map(route).collect(),
    }
}

/// Whose lease it is.
fn owner(attachment: Option<&Attachment>) -> Result<Owner, PodError> {
    let attachment = attachment.ok_or(PodError::Field { field: "attachment", why: "it is missing".to_owned() })?;
    for (field, text) in [
        ("attachment.container_id", &attachment.container_id),
        ("attachment.interface", &attachment.interface),
        ("attachment.configuration", &attachment.configuration),
    ] {
        if text.is_empty() || text.len() > LONGEST_NAME {
            return Err(PodError::Field {
                field,
                why: format!("it has 1 to {LONGEST_NAME} bytes, not {}", text.len()),
            });
        }
    }
    Ok(Owner {
        container: attachment.container_id.clone(),
        interface: attachment.interface.clone(),
        configuration: attachment.configuration.clone(),
    })
}

/// The network of whose addresses the node knows a container, if not by its own.
fn infrastructure(request: &AddPodRequest, network: &NetworkName) -> Result<Option<NetworkName>, PodError> {
    if request.infrastructure_network.is_empty() {
        return Ok(None);
    }
    let infrastructure: NetworkName = request.infrastructure_network.parse().map_err(PodError::name)?;
    let refused = |why: &str| Err(PodError::Field { field: "infrastructure_network", why: why.to_owned() });
    if infrastructure == *network {
        return refused("it is the network of the pod, whose addresses the node knows already");
    }
    if !request.node_access {
        return refused("it is for the node, which may not reach the pod: node_access is false");
    }
    Ok(Some(infrastructure))
}

/// What a container asks for.
fn wish(request: &AddPodRequest, network: &NetworkName) -> Result<Wish, PodError> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for text in &request.addresses {
        let why = |why: &str| PodError::Address { address: text.clone(), why: why.to_owned() };
        let bare = text.split('/').next().unwrap_or_default();
        let address: IpAddr = bare.parse().map_err(|_| why("it is no IP address"))?;
        if addresses.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            return Err(why("an interface has one address of each family"));
        }
        addresses.push(address);
    }
    let mac = match request.mac.as_str() {
        "" => None,
        text => {
            let mac: Result<MacAddress, _> = text.parse();
            Some(mac.map_err(|error| PodError::Mac { mac: text.to_owned(), why: error.violation("").rule })?)
        }
    };
    let routes: Result<Vec<Prefix>, _> = request.routes.iter().map(|text| text.parse()).collect();
    let routes = routes
        .map_err(|error: ValueError| PodError::Field { field: "routes", why: error.violation("routes").to_string() })?;
    let group = |id: &String| format!("{network}/securityGroups/{id}").parse().map_err(PodError::name);
    let groups: Result<BTreeSet<SecurityGroupName>, _> = request.security_groups.iter().map(group).collect();
    let pod = request.pod.clone().unwrap_or_default();
    for text in [&pod.namespace, &pod.name, &pod.uid] {
        if text.len() > LONGEST_NAME {
            return Err(PodError::Field { field: "pod", why: format!("a name has at most {LONGEST_NAME} bytes") });
        }
    }
    let pod = PodName { namespace: pod.namespace, name: pod.name, uid: pod.uid };
    let by_policy = request.policy_wait_seconds > 0;
    if by_policy {
        policy::check_identifier(&pod.uid)?;
    }
    Ok(Wish { addresses, mac, groups: groups?, routes, node_access: request.node_access, by_policy, pod })
}

/// A group that is not there would be rules that are not there.
fn check_groups(view: &NetworkView, groups: &BTreeSet<SecurityGroupName>) -> Result<(), PodError> {
    match groups.iter().find(|group| !view.groups.contains_key(*group)) {
        None => Ok(()),
        Some(missing) => {
            let there: Vec<&str> = view.groups.keys().map(SecurityGroupName::id).collect();
            Err(PodError::NoGroup {
                network: view.network.name.to_string(),
                group: missing.id().to_owned(),
                there: if there.is_empty() { "none".to_owned() } else { there.join(", ") },
            })
        }
    }
}
