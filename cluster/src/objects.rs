//! What is known of a cluster: of each object only what decides about packets.

use std::{collections::BTreeMap, fmt};

use andromede_model::Protocol;

use crate::Policy;

/// Labels of an object of the cluster, by key.
pub(crate) type Labels = BTreeMap<String, String>;

/// Name of an object in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl ObjectName {
    /// From both parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels.
    pub labels: Labels,
}

/// A port of a container that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodPort {
    /// The name.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The number, 1 to 65535.
    pub number: u16,
}

/// A pod that lives in a network of ours: neither one of the host's own network, nor one that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    /// Its labels.
    pub labels: Labels,
    /// The ports of its containers that have a name, sorted.
    pub ports: Vec<PodPort>,
}

impl Pod {
    /// The numbers that a name stands for in this pod.
    pub(crate) fn numbers(&self, name: &str, protocol: Protocol) -> impl Iterator<Item = u16> {
        let named = self.ports.iter().filter(move |port| port.name == name && port.protocol == protocol);
        named.map(|port| port.number)
    }
}

/// The part of a cluster whose pods are in one network.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Its namespaces.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Its pods.
    pub pods: BTreeMap<ObjectName, Pod>,
    /// Its policies.
    pub policies: BTreeMap<ObjectName, Policy>,
}
