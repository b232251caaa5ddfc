//! The host's own network: interfaces, namespaces, routes.

pub mod interface_name;
pub mod monitor;
pub mod netlink;
pub mod netns;
pub mod node;
pub mod removal;
pub mod static_drop;
pub mod sysctl;
pub mod underlay;
pub mod veth;
