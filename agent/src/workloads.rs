//! Attaching and detaching workloads: nothing passes before rows and programs are in place.

use std::{net::IpAddr, path::Path, sync::Arc};

use andromede_proto::local::v1::AttachPortResponse;
use tokio::sync::Mutex;

use crate::{
    facts::workload,
    host::{
        interface_name,
        netlink::{Link, Netlink, NetlinkError},
        netns::{Netns, NetnsError},
        veth::{self, VethError, Workload},
    },
    pods::overlay,
    reconcile::Reconciler,
    shared::Shared,
    state::{attachments::AttachedWorkload, disk::DiskError},
};

/// Name of the interface inside, if the request names none.
const DEFAULT_INTERFACE: &str = "eth0";

/// Why a workload could not be attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// A bad interface name.
    #[error(
        "interface {0:?}: a name is 1 to 15 visible characters without \"/\" and \":\"; choose another, for example eth0"
    )]
    BadInterface(String),
    /// The port is not known here.
    #[error(
        "port {port} is not placed on this host {host}; is the name right, and is its host set? andromedectl describe {port}"
    )]
    NotPlaced {
        /// The port.
        port: String,
        /// This host.
        host: String,
    },
    /// Attached elsewhere.
    #[error(
        "port {port} is attached to {netns}, interface {interface}; detach it first: andromedectl host detach {port}"
    )]
    Elsewhere {
        /// The port.
        port: String,
        /// Where.
        netns: String,
        /// Interface there.
        interface: String,
    },
    /// A container has its address.
    #[error(
        "port {port}: its address {address} was given to container {container} of this host before the port was known here; when that \
         container has ended attach again, or give the port another address"
    )]
    Leased {
        /// The port.
        port: String,
        /// The address.
        address: IpAddr,
        /// The container.
        container: String,
    },
    /// Something else has the name of the host side.
    #[error(
        "interface {interface} is in the way of port {port}: its alias is {alias:?} and it is {state}, so it is not what an attach \
         left unfinished; if nothing uses it, remove it and attach again: ip link delete {interface}"
    )]
    InTheWay {
        /// The interface.
        interface: String,
        /// The port.
        port: String,
        /// What the interface says it is.
        alias: String,
        /// "up" or "down".
        state: &'static str,
    },
    /// The host is not ready.
    #[error("the host is not as it should be, so the workload of {port} stays unplugged: {error}")]
    NotReady {
        /// The port.
        port: String,
        /// What is wrong.
        error: String,
    },
    /// The namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The interface.
    #[error(transparent)]
    Veth(#[from] VethError),
    /// The kernel.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The state folder.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A workload's interface.
#[derive(Debug)]
pub(crate) struct Made {
    /// Its host side.
    pub(crate) outer: Link,
    /// What it was made as.
    pub(crate) workload: Workload,
    /// Was it there already, in the same namespace and under the same name?
    pub(crate) was_there: bool,
}

/// Attaches and detaches, one at a time.
#[derive(Debug)]
pub struct Workloads {
    shared: Arc<Shared>,
    reconciler: Arc<Mutex<Reconciler>>,
    netlink: Netlink,
    one_at_a_time: Mutex<()>,
}

impl Workloads {
    /// On this host.
    pub fn new(shared: Arc<Shared>, reconciler: Arc<Mutex<Reconciler>>, netlink: Netlink) -> Self {
        Self { shared, reconciler, netlink, one_at_a_time: Mutex::new(()) }
    }

    /// Makes the workload's interface. Doing it again with the same namespace and name changes nothing.
    pub async fn attach(&self, port: &str, netns: &str, interface: &str) -> Result<AttachPortResponse, WorkloadError> {
        let interface = if interface.is_empty() { DEFAULT_INTERFACE } else { interface };
        let made = self.make(port, Path::new(netns), interface).await?;
        let workload = made.workload;
        Ok(AttachPortResponse {
            interface: workload.interface,
            host_interface: made.outer.name,
            mac: andromede_model::MacAddress::new(workload.mac).map(|mac| mac.to_string()).unwrap_or_default(),
            addresses: workload.addresses.iter().map(|(address, length)| format!("{address}/{length}")).collect(),
            mtu: workload.mtu,
        })
    }

    /// The same, with all that is known of the interface.
    pub(crate) async fn make(&self, port: &str, netns: &Path, interface: &str) -> Result<Made, WorkloadError> {
        let _turn = self.one_at_a_time.lock().await;
        if !interface_name::is_valid(interface) {
            return Err(WorkloadError::BadInterface(interface.chars().take(64).collect()));
        }
        let netns = Netns::open(netns)?;
        let workload = self.describe(port, interface).await?;
        let known = self.shared.attached().remove(port);
        let (stale, known) = match known {
            Some(known) if known.uid.differs(workload.uid) => (Some(known), None),
            known => (None, known),
        };
        if let Some(stale) = stale {
            // Of an earlier port of this name.
            self.unplug(port, stale.ifindex).await?;
        }
        match known {
            Some(known) if known.netns_id != netns.id || known.interface != interface => {
                Err(WorkloadError::Elsewhere {
                    port: port.to_owned(),
                    netns: known.netns.display().to_string(),
                    interface: known.interface.clone(),
                })
            }
            Some(known) => {
                // The path under which it is reached may be another one now.
                self.shared.change_attached(|attached| {
                    if let Some(workload) = attached.get_mut(port) {
                        workload.netns.clone_from(&netns.path);
                    }
                })?;
                self.plug(&netns, known.ifindex, &workload).await?;
                let outer = Link { index: known.ifindex, name: known.host_interface.clone(), ..Link::default() };
                Ok(Made { outer, workload, was_there: true })
            }
            None => {
                let outer = self.create(&netns, &workload).await?;
                Ok(Made { outer, workload, was_there: false })
            }
        }
    }

    /// Makes the pair. Whether a name is taken is looked up only where the kernel says so: hardly ever.
    async fn pair(&self, netns: &Netns, workload: &Workload) -> Result<Link, WorkloadError> {
        match veth::create(&self.netlink, netns, workload).await {
            Err(VethError::Netlink(error)) if error.errno() == Some(libc::EEXIST) => {}
            made => return Ok(made?),
        }
        let name = interface_name::host_side(&workload.port);
        if let Some(found) = self.netlink.link(&name).await? {
            if !is_unfinished(&found, &workload.port) {
                let state = if found.up { "up" } else { "down" };
                let (port, alias) = (workload.port.clone(), found.alias);
                return Err(WorkloadError::InTheWay { interface: name, port, alias, state });
            }
            self.netlink.delete_link(found.index).await?;
        }
        if veth::inside_link(netns, &workload.interface).await?.is_some() {
            let netns = netns.path.display().to_string();
            return Err(VethError::Taken { interface: workload.interface.clone(), netns }.into());
        }
        Ok(veth::create(&self.netlink, netns, workload).await?)
    }

    async fn create(&self, netns: &Netns, workload: &Workload) -> Result<Link, WorkloadError> {
        let outer = self.pair(netns, workload).await?;
        let made = AttachedWorkload {
            netns: netns.path.clone(),
            netns_id: netns.id,
            interface: workload.interface.clone(),
            host_interface: outer.name.clone(),
            ifindex: outer.index,
            tap: false,
            uid: workload.uid,
            configured: Some(workload.clone()),
            lease: self.shared.leases().entry_of_port(&workload.port).cloned(),
        };
        match self.finish(netns, &outer, made, workload).await {
            Ok(()) => Ok(outer),
            Err(error) => {
                self.unplug(&workload.port, outer.index).await?;
                Err(error)
            }
        }
    }

    async fn finish(
        &self,
        netns: &Netns,
        outer: &Link,
        made: AttachedWorkload,
        workload: &Workload,
    ) -> Result<(), WorkloadError> {
        veth::isolate(&self.netlink, outer, workload).await?;
        self.shared.change_attached(|attached| drop(attached.insert(workload.port.clone(), made)))?;
        self.plug(netns, outer.index, workload).await
    }

    /// Rows and programs first, then the link.
    async fn plug(&self, netns: &Netns, ifindex: u32, workload: &Workload) -> Result<(), WorkloadError> {
        let mut reconciler = self.reconciler.lock().await;
        reconciler.try_again(&workload.port);
        let progress = reconciler.pass().await;
        let node = reconciler.node().filter(|_| reconciler.serves(ifindex));
        drop(reconciler);
        let Some(node) = node else {
            let error = match progress.error {
                error if error.is_empty() => "its rows are not in place".to_owned(),
                error => error,
            };
            return Err(WorkloadError::NotReady { port: workload.port.clone(), error });
        };
        Ok(veth::bring_up(&self.netlink, netns, ifindex, workload, node).await?)
    }

    /// Removes the workload's interface; no error if there is none.
    pub async fn detach(&self, port: &str) -> Result<(), WorkloadError> {
        let _turn = self.one_at_a_time.lock().await;
        match self.shared.attached().get(port) {
            Some(known) => self.unplug(port, known.ifindex).await,
            None => self.remove_unlisted(port).await,
        }
    }

    /// Removes the interface of the port with this id, in whatever network; no error if there is none.
    pub(crate) async fn detach_id(&self, id: &str) -> Result<(), WorkloadError> {
        for link in self.netlink.links().await? {
            let port = interface_name::port_of_alias(&link.alias).unwrap_or_default();
            if port.rsplit_once('/').is_some_and(|(_, found)| found == id) {
                self.detach(port).await?;
            }
        }
        Ok(())
    }

    /// An interface of the port that the list of workloads does not know: of an attach that was interrupted.
    async fn remove_unlisted(&self, port: &str) -> Result<(), WorkloadError> {
        match self.netlink.link(&interface_name::host_side(port)).await? {
            Some(link) if interface_name::port_of_alias(&link.alias) == Some(port) => {
                Ok(self.netlink.delete_link(link.index).await?)
            }
            _ => Ok(()),
        }
    }

    /// Takes the interface away, and all that there is of it.
    async fn unplug(&self, port: &str, ifindex: u32) -> Result<(), WorkloadError> {
        self.shared.change_attached(|attached| drop(attached.remove(port)))?;
        let removed = self.reconciler.lock().await.remove_interface(ifindex).await;
        // What is left of the programs, their pins, goes with the next pass.
        self.shared.wake();
        Ok(removed?)
    }

    /// The agent's socket to the kernel.
    pub(crate) fn netlink(&self) -> &Netlink {
        &self.netlink
    }

    /// What the interface shall be, by what the controller told.
    pub(crate) async fn describe(&self, port: &str, interface: &str) -> Result<Workload, WorkloadError> {
        let mut reconciler = self.reconciler.lock().await;
        // The port may have come with an update that no pass has seen yet, or with a lease.
        if reconciler.views().port(port).is_none() {
            reconciler.look_at_views();
        }
        if reconciler.views().port(port).is_none() || reconciler.underlay().is_none() {
            reconciler.pass().await;
        }
        let host = &self.shared.config.host;
        let (view, found) = reconciler
            .views()
            .port(port)
            .filter(|(_, found)| found.host.as_ref() == Some(host))
            .ok_or_else(|| WorkloadError::NotPlaced { port: port.to_owned(), host: host.to_string() })?;
        let underlay = reconciler.underlay().ok_or_else(|| WorkloadError::NotReady {
            port: port.to_owned(),
            error: self.shared.progress().borrow().error.clone(),
        })?;
        let mtu = underlay.workload_mtu(view.network.mtu.unwrap_or(0));
        let leases = self.shared.leases();
        if let Some((address, owner)) = overlay::holder(&leases, found) {
            return Err(WorkloadError::Leased { port: port.to_owned(), address, container: owner.container.clone() });
        }
        Ok(workload(view, found, interface, mtu, &leases))
    }
}

/// Is this interface what an attach of this port left behind when it was interrupted? Such a one is down, and is named after the port
/// or not yet. Any other belongs to somebody.
fn is_unfinished(link: &Link, port: &str) -> bool {
    !link.up && (link.alias.is_empty() || interface_name::port_of_alias(&link.alias) == Some(port))
}
