//! What a `NetworkPolicy` says (Kubernetes API, `networking.k8s.io/v1`).

mod read;
mod wire;

use andromede_model::{PortRange, Prefix, Protocol};

use crate::{ObjectName, Selector};

/// A policy. What is in no rule of it, and of no other policy that selects the pod, is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: ObjectName,
    /// The pods of its namespace that it selects.
    pub subjects: Selector,
    /// What they may receive; none: it says nothing of that.
    pub ingress: Option<Vec<PeerRule>>,
    /// What they may send; none: it says nothing of that.
    pub egress: Option<Vec<PeerRule>>,
}

/// One permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRule {
    /// The other side.
    pub peers: Peers,
    /// The destination's ports; none: whatever it is.
    pub services: Option<Vec<Service>>,
}

/// The other side of a permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Whoever it is.
    Anybody,
    /// One of these.
    OneOf(Vec<Peer>),
}

/// One possible other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Pods of namespaces.
    Pods(NamespaceChoice, Selector),
    /// Addresses: a block without its exceptions, as prefixes in order.
    Addresses(Vec<Prefix>),
}

/// Namespaces of pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamespaceChoice {
    /// The one of this name: that of the policy.
    Own(String),
    /// Those that a selector selects.
    Selected(Selector),
}

/// Ports of one protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// Which of its ports.
    pub port: ServicePort,
}

/// Ports of a protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServicePort {
    /// All of them.
    All,
    /// These.
    Range(PortRange),
    /// Those that have this name in the pod that is the destination.
    Named(String),
}
