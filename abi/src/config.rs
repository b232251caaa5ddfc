//! What a program knows of its host before it is loaded: a read-only global that the loader fills.

use crate::{
    identifiers::{HostIndex, Mac},
    pod::row,
};

/// Bits of [`HostConfig::features`].
pub mod feature {
    /// `bpf_skb_adjust_room` takes `BPF_F_ADJ_ROOM_DECAP_L3_IPV6` (Linux 6.3): inner IPv6 need not be redirected through a device.
    pub const DECAP_L3: u32 = 1 << 0;
    /// Write the verdict record of each packet to the table `verdicts` (tests only).
    pub const RECORD: u32 = 1 << 1;
}

/// The read-only global `HOST` of every program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// This host.
    pub host: HostIndex,
    /// IPv4 address of this host's tunnel endpoint, as in a header.
    pub underlay_v4: u32,
    /// Index of the underlay interface.
    pub underlay_ifindex: u32,
    /// Index of the external vxlan device.
    pub overlay_ifindex: u32,
    /// UDP port of VXLAN, network byte order.
    pub vxlan_port: u16,
    /// Ethernet address of the underlay interface.
    pub underlay_mac: Mac,
    /// See [`feature`].
    pub features: u32,
    /// Largest IP packet that the underlay carries, in bytes.
    pub underlay_mtu: u32,
}
row!(HostConfig, 32, [u32; 4], u16, Mac, u32, u32);
