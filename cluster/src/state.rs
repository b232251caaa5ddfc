//! What the API server has told so far, and the part of it that is in one network.

use std::collections::{BTreeMap, BTreeSet};

use andromede_model::{HostName, NetworkName, Protocol, Violation};

use crate::{
    Cluster, Namespace, ObjectName, Pod, PodPort, Policy,
    kube::{
        objects::{NamespaceObject, NodeObject, PodObject, PolicyObject},
        watch::Step,
    },
};

/// Label of a namespace: the tenant in whose network its pods are; together with [`NETWORK_LABEL`].
pub const TENANT_LABEL: &str = "andromede/tenant";
/// Label of a namespace: the network of that tenant.
pub const NETWORK_LABEL: &str = "andromede/network";
/// Label of a node: the host that it is, if that has another name than the node.
pub const HOST_LABEL: &str = "andromede/host";

/// A pod as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownPod {
    pub(crate) uid: String,
    /// The node that it is on.
    pub(crate) node: Option<String>,
    /// Was its address told to the cluster? Then its interface is up.
    pub(crate) has_address: bool,
    pub(crate) pod: Pod,
}

/// A policy as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownPolicy {
    pub(crate) uid: String,
    pub(crate) policy: Policy,
    /// What of it could not be understood.
    pub(crate) fault: Option<Violation>,
}

/// Everything of one kind.
#[derive(Clone, Debug)]
struct Kept<K, V> {
    now: BTreeMap<K, V>,
    /// Those of a list that is not at its end.
    listed: BTreeMap<K, V>,
    /// Was there a whole list?
    whole: bool,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self { now: BTreeMap::new(), listed: BTreeMap::new(), whole: false }
    }
}

impl<K: Ord, V> Kept<K, V> {
    fn step(&mut self, step: Step<K, V>) {
        match step {
            Step::Begin => self.listed.clear(),
            Step::Found(key, value) => drop(self.listed.insert(key, value)),
            Step::Done => {
                self.now = std::mem::take(&mut self.listed);
                self.whole = true;
            }
            Step::Put(key, value) => drop(self.now.insert(key, value)),
            Step::Gone(key) => drop(self.now.remove(&key)),
        }
    }
}

/// Where a namespace is: its labels, and the network of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownNamespace {
    namespace: Namespace,
    /// None: the cluster's default.
    network: Option<Result<NetworkName, Violation>>,
}

/// One thing that the API server told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Namespace(Step<String, KnownNamespace>),
    Node(Step<String, HostName>),
    Pod(Step<ObjectName, KnownPod>),
    Policy(Step<ObjectName, KnownPolicy>),
}

/// A cluster as the API server told it.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    namespaces: Kept<String, KnownNamespace>,
    nodes: Kept<String, HostName>,
    pods: Kept<ObjectName, KnownPod>,
    policies: Kept<ObjectName, KnownPolicy>,
}

impl State {
    pub(crate) fn take(&mut self, told: Told) {
        match told {
            Told::Namespace(step) => self.namespaces.step(step),
            Told::Node(step) => self.nodes.step(step),
            Told::Pod(step) => self.pods.step(step),
            Told::Policy(step) => self.policies.step(step),
        }
    }

    /// Was all of it told once? Before, nobody knows whom a policy isolates.
    pub(crate) const fn is_whole(&self) -> bool {
        self.namespaces.whole && self.nodes.whole && self.pods.whole && self.policies.whole
    }

    /// The network of a namespace; none if there is no such namespace, or its labels name none.
    fn network_of<'a>(&'a self, namespace: &str, default: &'a NetworkName) -> Option<&'a NetworkName> {
        match &self.namespaces.now.get(namespace)?.network {
            None => Some(default),
            Some(network) => network.as_ref().ok(),
        }
    }

    /// The networks of all namespaces.
    pub(crate) fn networks(&self, default: &NetworkName) -> BTreeSet<NetworkName> {
        let named = self.namespaces.now.values().filter_map(|it| it.network.as_ref()?.as_ref().ok().cloned());
        named.chain([default.clone()]).collect()
    }

    /// The part of the cluster that is in a network.
    pub(crate) fn cluster(&self, network: &NetworkName, default: &NetworkName) -> Cluster {
        let here = |namespace: &str| self.network_of(namespace, default) == Some(network);
        let namespaces = self.namespaces.now.iter().filter(|(name, _)| here(name));
        let pods = self.pods.now.iter().filter(|(name, _)| here(&name.namespace));
        let policies = self.policies.now.iter().filter(|(name, _)| here(&name.namespace));
        Cluster {
            namespaces: namespaces.map(|(name, it)| (name.clone(), it.namespace.clone())).collect(),
            pods: pods.map(|(name, it)| (name.clone(), it.pod.clone())).collect(),
            policies: policies.map(|(name, it)| (name.clone(), it.policy.clone())).collect(),
        }
    }

    /// The pods, and the hosts that they are on.
    pub(crate) fn pods(&self) -> impl Iterator<Item = (&ObjectName, &KnownPod, Option<&HostName>)> {
        let host = |pod: &KnownPod| pod.node.as_ref().and_then(|node| self.nodes.now.get(node));
        self.pods.now.iter().map(move |(name, pod)| (name, pod, host(pod)))
    }

    pub(crate) fn pod(&self, name: &ObjectName) -> Option<&KnownPod> {
        self.pods.now.get(name)
    }

    pub(crate) fn policy(&self, name: &ObjectName) -> Option<&KnownPolicy> {
        self.policies.now.get(name)
    }

    /// What of the policies could not be understood.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (&ObjectName, &Violation)> {
        self.policies.now.iter().filter_map(|(name, it)| Some((name, it.fault.as_ref()?)))
    }
}

/// Name of an object.
fn name_of(metadata: &kube::api::ObjectMeta) -> ObjectName {
    ObjectName::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// What is kept of a namespace.
pub(crate) fn namespace(object: NamespaceObject) -> (String, Option<KnownNamespace>) {
    let labels = object.metadata.labels.unwrap_or_default();
    let network = match (labels.get(TENANT_LABEL), labels.get(NETWORK_LABEL)) {
        (None, None) => None,
        (tenant, network) => {
            let text = |label: Option<&String>| label.cloned().unwrap_or_default();
            let name = format!("tenants/{}/networks/{}", text(tenant), text(network));
            Some(name.parse().map_err(|error: andromede_model::NameError| error.violation("metadata.labels")))
        }
    };
    let known = KnownNamespace { namespace: Namespace { labels }, network };
    (object.metadata.name.unwrap_or_default(), Some(known))
}

/// What is kept of a node: which host it is.
pub(crate) fn node(object: NodeObject) -> (String, Option<HostName>) {
    let name = object.metadata.name.unwrap_or_default();
    let labels = object.metadata.labels.unwrap_or_default();
    let id = labels.get(HOST_LABEL).cloned().unwrap_or_else(|| name.replace('.', "-"));
    (name, format!("hosts/{id}").parse().ok())
}

/// What is kept of a pod; nothing of one of its node's own network, or one that has ended.
pub(crate) fn pod(object: PodObject) -> (ObjectName, Option<KnownPod>) {
    let name = name_of(&object.metadata);
    let PodObject { metadata, spec, status } = object;
    let has_ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if spec.host_network || has_ended {
        return (name, None);
    }
    let port = |port: crate::kube::objects::ContainerPort| {
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => Protocol::TCP,
            Some("UDP") => Protocol::UDP,
            Some("SCTP") => Protocol::SCTP,
            Some(_) => return None,
        };
        Some(PodPort { name: port.name?, protocol, number: u16::try_from(port.number).ok()? })
    };
    let mut ports: Vec<PodPort> =
        spec.containers.into_iter().flat_map(|container| container.ports).filter_map(port).collect();
    ports.sort();
    let known = KnownPod {
        uid: metadata.uid.unwrap_or_default(),
        node: spec.node_name,
        has_address: status.pod_ip.is_some_and(|address| !address.is_empty()),
        pod: Pod { labels: metadata.labels.unwrap_or_default(), ports },
    };
    (name, Some(known))
}

/// What is kept of a policy.
pub(crate) fn policy(object: PolicyObject) -> (ObjectName, Option<KnownPolicy>) {
    let name = name_of(&object.metadata);
    let (policy, fault) = Policy::read(name.clone(), &object.spec);
    (name, Some(KnownPolicy { uid: object.metadata.uid.unwrap_or_default(), policy, fault }))
}
