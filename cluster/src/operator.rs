//! The operator: what the API server and the controller tell, compared; what is missing is written.
//!
//! It keeps nothing of its own. Whoever starts anew hears everything again from both, and finds in the network what was written before.
//! Without the API server, what is in force stays; without the controller too.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use andromede_model::{NetworkName, limits};
use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};
use tonic::{Code, transport::Channel};

use crate::{
    Fault, ObjectName, compile, fabric,
    kube::{
        event::{About, Events},
        leader::Candidate,
        objects::{NamespaceObject, NodeObject, PodObject, PolicyObject},
        watch::watch,
    },
    state::{self, State, Told},
    sync::{self, Found, Placed, Write},
};

pub use crate::{
    fabric::{Controller, DialError},
    state::{HOST_LABEL, NETWORK_LABEL, TENANT_LABEL},
};

/// Things told that wait to be taken in, of each side.
const WAITING: usize = 1_024;
/// What is told within this time is answered together.
const TOGETHER: Duration = Duration::from_millis(10);
/// How long is waited after a write that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// What an operator is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the cluster, unique among those that share a fabric: the value of a label.
    pub cluster: String,
    /// The network of pods whose namespace names none.
    pub network: NetworkName,
    /// The controller.
    pub controller: Controller,
    /// Namespace of the lease, and the name of this operator in it; none: it is the only one.
    pub election: Option<(String, String)>,
}

/// Runs until a task that should not end does.
pub async fn run(settings: Settings, client: Client) -> Result<(), DialError> {
    let channel = settings.controller.channel()?;
    let mut tasks = JoinSet::new();
    let (tell, told) = mpsc::channel(WAITING);
    tasks.spawn(watch::<NamespaceObject, _, _, _>(client.clone(), state::namespace, Told::Namespace, tell.clone()));
    tasks.spawn(watch::<NodeObject, _, _, _>(client.clone(), state::node, Told::Node, tell.clone()));
    tasks.spawn(watch::<PodObject, _, _, _>(client.clone(), state::pod, Told::Pod, tell.clone()));
    tasks.spawn(watch::<PolicyObject, _, _, _>(client.clone(), state::policy, Told::Policy, tell));
    let (lead, leads) = watch::channel(settings.election.is_none());
    if let Some((namespace, identity)) = &settings.election {
        let candidate = Candidate::new(client.clone(), namespace, "andromede-operator", identity.clone());
        tasks.spawn(candidate.run(lead));
    }
    let (tell_found, told_found) = mpsc::channel(WAITING);
    let operator = Operator {
        settings,
        client,
        channel,
        state: State::default(),
        found: BTreeMap::new(),
        events: Events::default(),
        tell_found,
        tasks,
    };
    operator.run(told, told_found, leads).await;
    Ok(())
}

struct Operator {
    settings: Settings,
    client: Client,
    channel: Channel,
    state: State,
    /// What there is in each network, once something was told of it.
    found: BTreeMap<NetworkName, Option<Found>>,
    events: Events,
    tell_found: mpsc::Sender<fabric::Told>,
    tasks: JoinSet<()>,
}

impl Operator {
    async fn run(
        mut self,
        mut told: mpsc::Receiver<Told>,
        mut told_found: mpsc::Receiver<fabric::Told>,
        mut leads: watch::Receiver<bool>,
    ) {
        // When it is next looked at everything.
        let mut due: Option<Instant> = None;
        loop {
            let look = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(step) = told.recv() => {
                    self.state.take(step);
                    due.get_or_insert_with(|| Instant::now() + TOGETHER);
                }
                Some(part) = told_found.recv() => {
                    self.take(part);
                    due.get_or_insert_with(|| Instant::now() + TOGETHER);
                }
                Ok(()) = leads.changed() => due = Some(Instant::now()),
                () = look => {
                    let leads = *leads.borrow_and_update();
                    due = (!self.look(leads).await).then(|| Instant::now() + AGAIN);
                }
                _ = self.tasks.join_next() => {
                    tracing::error!("a part of the operator ended");
                    return;
                }
            }
        }
    }

    fn take(&mut self, part: fabric::Told) {
        let Some(found) = self.found.get_mut(&part.network) else { return };
        let found = found.get_or_insert_default();
        if part.anew {
            *found = Found::default();
        }
        part.deleted.iter().for_each(|name| found.remove(name));
        part.written.into_iter().for_each(|resource| found.take(&self.settings.cluster, resource));
    }

    /// Compares everything, and writes what is missing if this operator leads; no if it is to be tried again.
    async fn look(&mut self, leads: bool) -> bool {
        if !self.state.is_whole() {
            return true;
        }
        for network in self.state.networks(&self.settings.network) {
            if !self.found.contains_key(&network) {
                self.tasks.spawn(fabric::watch(self.channel.clone(), network.clone(), self.tell_found.clone()));
                self.found.insert(network, None);
            }
        }
        if !leads {
            return true;
        }
        let mut faults = Faults::default();
        faults.policies.extend(self.state.faults().map(|(name, violation)| (name.clone(), violation.to_string())));
        let mut well = true;
        for network in self.found.keys().cloned().collect::<Vec<_>>() {
            well &= self.network(&network, &mut faults).await;
        }
        self.warn(faults).await;
        well
    }

    /// Brings one network in line with the cluster.
    async fn network(&mut self, network: &NetworkName, faults: &mut Faults) -> bool {
        let Some(Some(found)) = self.found.get(network) else { return true };
        let cluster = self.state.cluster(network, &self.settings.network);
        let compiled = match compile(network, &self.settings.cluster, &cluster) {
            Ok(compiled) => compiled,
            Err(violation) => {
                tracing::error!(%network, %violation, "the cluster cannot be expressed in this network");
                return true;
            }
        };
        let placed: BTreeMap<&str, Placed> = self
            .state
            .pods()
            .map(|(name, pod, host)| (pod.uid.as_str(), Placed { name: name.clone(), host: host.cloned() }))
            .collect();
        let write = sync::write(network, &compiled, found, &placed);
        faults.add(&compiled.faults, &write.elsewhere);
        let late: Vec<ObjectName> = write.known.clone();
        if !write.is_empty() && !self.write(network, write).await {
            return false;
        }
        // Whose address the cluster knows already, its interface was up before its rules came.
        faults.late.extend(late.into_iter().filter(|name| self.state.pod(name).is_some_and(|pod| pod.has_address)));
        true
    }

    async fn write(&self, network: &NetworkName, write: Write) -> bool {
        let (changed, gone) = (write.resources.len(), write.deleted.len());
        let mut parts: Vec<Vec<_>> = write.resources.chunks(limits::RESOURCES_PER_WRITE).map(<[_]>::to_vec).collect();
        // What goes, goes with the last of what comes, if there is room.
        let room = parts.last().is_some_and(|last| last.len().saturating_add(gone) <= limits::RESOURCES_PER_WRITE);
        if !room {
            parts.push(Vec::new());
        }
        let last = parts.len().saturating_sub(1);
        for (place, part) in parts.into_iter().enumerate() {
            let deleted = if place == last { write.deleted.clone() } else { Vec::new() };
            let mut written = fabric::apply(&self.channel, part.clone(), deleted).await;
            if let Err(status) = &written
                && status.code() == Code::FailedPrecondition
                && !part.is_empty()
            {
                // Somebody else uses what should go. What comes matters more.
                tracing::warn!(%network, reason = status.message(), "groups that no policy needs are still in use");
                written = fabric::apply(&self.channel, part, Vec::new()).await;
            }
            match written {
                Ok(revision) => tracing::info!(%network, changed, gone, revision, "written"),
                Err(status) => {
                    let (code, reason) = (status.code(), status.message());
                    tracing::warn!(%network, ?code, reason, "not written; what was there stays, and it is tried again");
                    return false;
                }
            }
        }
        true
    }

    async fn warn(&mut self, faults: Faults) {
        let Faults { policies, pods, late } = faults;
        let about_policy = |(name, note): (ObjectName, String)| {
            let uid = self.state.policy(&name).map(|policy| policy.uid.clone()).unwrap_or_default();
            let ObjectName { namespace, name } = name;
            (About { api_version: "networking.k8s.io/v1", kind: "NetworkPolicy", namespace, name, uid }, note)
        };
        let about_pod = |(name, note): (ObjectName, String)| {
            let uid = self.state.pod(&name).map(|pod| pod.uid.clone()).unwrap_or_default();
            let ObjectName { namespace, name } = name;
            (About { api_version: "v1", kind: "Pod", namespace, name, uid }, note)
        };
        let policies: BTreeSet<(About, String)> = policies.into_iter().map(about_policy).collect();
        let pods: BTreeSet<(About, String)> = pods.into_iter().map(about_pod).collect();
        let note = "its interface came up before its rules did: until now it was isolated but for its node";
        let late: Vec<(About, String)> = late.into_iter().map(|name| about_pod((name, note.to_owned()))).collect();
        self.events.keep(NOT_EXPRESSED, &policies.union(&pods).cloned().collect());
        // An API server that hangs must not keep rules from pods.
        let until = Instant::now() + PATIENCE;
        let all = policies.into_iter().chain(pods).map(|(about, note)| (about, NOT_EXPRESSED, note));
        for (about, reason, note) in all.chain(late.into_iter().map(|(about, note)| (about, STARTED_ISOLATED, note))) {
            if timeout_at(until, self.events.warn(&self.client, about, reason, note)).await.is_err() {
                return;
            }
        }
    }
}

/// How long events may take together.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reason of an event: a policy, or what the policies make of a pod, cannot be expressed, and is closed.
const NOT_EXPRESSED: &str = "NotExpressed";
/// Reason of an event: a pod was there before its rules were.
const STARTED_ISOLATED: &str = "StartedIsolated";

/// What people are told.
#[derive(Default)]
struct Faults {
    policies: Vec<(ObjectName, String)>,
    pods: Vec<(ObjectName, String)>,
    late: Vec<ObjectName>,
}

impl Faults {
    fn add(&mut self, faults: &[Fault], elsewhere: &[ObjectName]) {
        for fault in faults {
            match fault {
                Fault::Policy(name, violation) => self.policies.push((name.clone(), violation.to_string())),
                Fault::Pod(name, violation) => self.pods.push((name.clone(), violation.to_string())),
            }
        }
        let note = "a host that is not that of its node has a port for it, which stays isolated";
        self.pods.extend(elsewhere.iter().map(|name| (name.clone(), note.to_owned())));
    }
}
