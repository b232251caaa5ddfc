//! What was decided about a packet, in a fixed layout: the same in the kernel and in memory.

use crate::{
    flow::NextHop,
    identifiers::{Mac, NetworkIndex, RuleNumber, Slot},
    meter::MeterIndex,
    pod::row,
};

/// Values of [`VerdictRecord::hook`]: where a packet was met.
pub mod hook {
    /// Ingress of the host side of a workload's interface.
    pub const FROM_WORKLOAD: u8 = 1;
    /// Ingress of the underlay interface.
    pub const FROM_UNDERLAY: u8 = 2;
    /// Ingress of the external vxlan device.
    pub const FROM_OVERLAY: u8 = 3;
    /// Egress of the host side of a workload's interface: what the node itself sends.
    pub const FROM_HOST: u8 = 4;
}

/// The mark of a frame that the packet path sent on inside this host: to a workload's interface, or to the vxlan device. A
/// workload cannot set it: the kernel clears marks where a frame leaves the workload's network namespace; nor can a stranger.
pub const OWN_MARK: u32 = 0x616e_6472;

/// Values of [`VerdictRecord::target`]: where a packet goes.
pub mod target {
    /// Nowhere.
    pub const DROP: u8 = 0;
    /// To a local port.
    pub const DELIVER: u8 = 1;
    /// Into a tunnel.
    pub const ENCAP: u8 = 2;
    /// Into another tunnel, without being delivered (reserved).
    pub const RETUNNEL: u8 = 3;
    /// Back to the workload, as an answer.
    pub const REPLY: u8 = 4;
    /// To the host's own stack, untouched.
    pub const HOST: u8 = 5;
    /// To the kernel's vxlan device, which decapsulates; `from_overlay` judges it again.
    pub const OVERLAY_DEVICE: u8 = 6;
}

/// The verdict on one packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictRecord {
    /// See [`hook`].
    pub hook: u8,
    /// See [`target`].
    pub target: u8,
    /// [`crate::Stage`] that decided, as its number.
    pub stage: u8,
    /// What is asked of the flow table: 0 nothing, 1 time or state of the connection's row, 2 a new row, 3 that the row is cut.
    pub claim: u8,
    /// [`crate::DropReason`] as its number; 0 if the packet is not dropped.
    pub reason: u16,
    /// Number of the edit, see `pipeline::EditKind`; 0 none.
    pub edit: u8,
    /// Rules that report it: see [`crate::rule_direction`].
    pub logged: u8,
    /// Rule that decided.
    pub rule: RuleNumber,
    /// Local port concerned.
    pub port: Slot,
    /// Network.
    pub network: NetworkIndex,
    /// Interface to deliver or reply to.
    pub ifindex: u32,
    /// Ethernet address that the edit writes.
    pub mac: Mac,
    /// Outer UDP source port, network byte order.
    pub outer_port: u16,
    /// Tunnel, if the target is one.
    pub next_hop: NextHop,
    /// Row of the meter in which it is counted.
    pub meter: MeterIndex,
    /// What it counts to there, see [`crate::meter_place`]; [`crate::meter_place::NONE`]: it is not counted.
    pub place: u8,
    /// Connections that are counted with it.
    pub flows: u8,
    /// Packets, and their bytes.
    pub packets: u32,
    /// See `packets`.
    pub bytes: u32,
    /// Zero.
    pub reserved: u32,
}
row!(VerdictRecord, 96, [u8; 4], u16, [u8; 2], [u32; 4], Mac, u16, NextHop, u16, [u8; 2], [u32; 3]);
