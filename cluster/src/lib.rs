//! A Kubernetes cluster on Andromède: what its pods, namespaces and `NetworkPolicies` mean in security groups.
//!
//! [`compile()`] is the pure half: objects of the cluster go in, resources of one network come out. [`operator`] asks and writes.
//! What a policy says and we do not understand is never passed over: such a policy allows nothing ([`Policy::read`]).

mod compile;
mod fabric;
mod group_name;
mod ip_block;
mod kube;
mod objects;
pub mod operator;
mod policy;
mod selector;
mod state;
pub mod sync;

pub use compile::{Compiled, Fault, compile};
pub use group_name::{CLOSED, CLUSTER_LABEL, NAMESPACE_LABEL, OPEN, PENDING, POLICY_LABEL};
pub use objects::{Cluster, Namespace, ObjectName, Pod, PodPort};
pub use policy::{NamespaceChoice, Peer, PeerRule, Peers, Policy, Service, ServicePort};
pub use selector::{Requirement, Selector};
