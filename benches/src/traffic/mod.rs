//! Traffic between two pods, by sockets that are asked again and again and never waited for: a wakeup costs more than a packet.

pub(crate) mod connect;
pub(crate) mod tcp;
pub(crate) mod udp;

use std::net::Ipv4Addr;

use andromede_testkit::Namespace;

/// A network namespace with one address, as a workload has it.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    /// Where it is.
    pub(crate) namespace: Namespace,
    /// Its address.
    pub(crate) address: Ipv4Addr,
}
