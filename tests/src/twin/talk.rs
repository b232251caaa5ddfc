//! Conversations with the packet path, in the kernel and in memory at once.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "it serves tests, and panics where they should fail"
)]

use std::net::Ipv4Addr;

use andromede_abi::{DropReason, target};
use andromede_dataplane::Hook;
use andromede_testkit::packet::{Ends, Tcp, vxlan};

use super::{End, Met, Outcome, SmallFabric, Twin, UNDERLAY_IFINDEX, ifindex};

/// Ethernet address that answers for every router.
pub const GATEWAY_MAC: [u8; 6] = [2, 0, 0x5e, 0, 0, 1];
/// The names of the two networks on the wire, by the order in which the model gives them out.
pub const VNI: [u32; 2] = [4097, 4096];
/// Their numbers in every table, likewise.
pub const NETWORK: [u32; 2] = [2, 1];

/// Has a conversation in a fresh fabric.
pub fn conversation(talk: impl FnOnce(&mut SmallFabric, &mut Twin) + Send) {
    andromede_testkit::requires::require(&["ip"]).unwrap();
    let namespace = SmallFabric::namespace().unwrap();
    namespace
        .run(|| {
            let mut fabric = SmallFabric::new().unwrap();
            let mut twin = Twin::new(fabric.host_config(), fabric.rows()).unwrap();
            talk(&mut fabric, &mut twin);
        })
        .unwrap();
}

/// A frame's ends over IPv4.
pub fn v4(from: End, to: End) -> Ends {
    Ends::new((from.mac(), from.v4()), (to.mac(), to.v4()))
}

/// A frame's ends over IPv6.
pub fn v6(from: End, to: End) -> Ends {
    Ends::new((from.mac(), from.v6()), (to.mac(), to.v6()))
}

/// What a workload of the first tenant sends.
pub fn sent(from: End, frame: Vec<u8>) -> Met {
    Met::new(Hook::FromWorkload, ifindex(0, from), frame)
}

/// From another tunnel endpoint, by the last byte of its address, to this host's.
pub fn outer_ends(sender: u8) -> Ends {
    Ends::new(
        ([2, 0, 0, 0, 1, sender], Ipv4Addr::new(192, 0, 2, sender)),
        ([2, 0, 0, 0, 1, 1], Ipv4Addr::new(192, 0, 2, 1)),
    )
}

/// What comes over the underlay.
pub fn received(sender: u8, vni: u32, inner: &[u8]) -> Met {
    Met::new(Hook::FromUnderlay, UNDERLAY_IFINDEX, vxlan(&outer_ends(sender), 50_000, vni, inner))
}

/// A segment from port 40000 to port 80.
pub fn tcp(flags: u8) -> Tcp {
    Tcp::new(40_000, 80, flags)
}

/// The packet passes, to this target.
pub fn passes(twin: &Twin, says: &str, met: &Met, target: u8) -> Outcome {
    let outcome = twin.compare(met).unwrap_or_else(|error| panic!("{says}: {error:#}"));
    assert_eq!((outcome.record.target, outcome.record.reason), (target, 0), "{says}: {:?}", outcome.record);
    outcome
}

/// The packet is dropped for this reason, untouched.
pub fn drops(twin: &Twin, says: &str, met: &Met, reason: DropReason) -> Outcome {
    let outcome = twin.compare(met).unwrap_or_else(|error| panic!("{says}: {error:#}"));
    let seen = DropReason::from_number(outcome.record.reason);
    assert_eq!((outcome.record.target, seen), (target::DROP, Some(reason)), "{says}: {:?}", outcome.record);
    assert_eq!(outcome.frame, met.frame, "{says}: a dropped frame is left as it is");
    outcome
}
