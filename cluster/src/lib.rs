//! A Kubernetes cluster on Andromède: what its pods, namespaces and `NetworkPolicies` mean in security groups.
//!
//! The pure half: objects of the cluster go in, resources of one network come out. Nothing here talks to anybody.
//! What a policy says and we do not understand is never passed over: such a policy allows nothing ([`Policy::read`]).

mod compile;
mod group_name;
mod ip_block;
mod objects;
mod policy;
mod selector;

pub use compile::{Compiled, Fault, compile};
pub use group_name::{CLOSED, CLUSTER_LABEL, NAMESPACE_LABEL, OPEN, PENDING, POLICY_LABEL};
pub use objects::{Cluster, Namespace, ObjectName, Pod, PodPort};
pub use policy::{NamespaceChoice, Peer, PeerRule, Peers, Policy, Service, ServicePort};
pub use selector::{Requirement, Selector};
