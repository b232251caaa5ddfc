//! Packets byte by byte, good ones and forged ones.
//!
//! Every layer is a struct whose public fields are what a forger may want to change; `wrap` puts it around a payload
//! with right lengths and checksums. [`Ends`] builds whole Ethernet frames between two sides.

mod checksum;
mod ends;
mod fragment;
mod ip;
mod neighbor;
mod transport;
mod vxlan;

use anyhow::{Context as _, Result, ensure};

pub use checksum::{checksum, transport_checksum};
pub use ends::Ends;
pub use ip::{Ipv4, Ipv6};
pub use neighbor::{ArpPacket, arp_operation, neighbor_advertisement, neighbor_solicitation, solicited_node};
pub use transport::{Tcp, Udp, icmp_echo, icmp_error, tcp_flag};
pub use vxlan::{VXLAN_PORT, vxlan, vxlan_header};

/// Ethernet address, in transmission order.
pub type Mac = [u8; 6];

/// The Ethernet broadcast address.
pub const BROADCAST: Mac = [0xff; 6];

/// `EtherType`s.
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// A VLAN tag, IEEE 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// IP protocol numbers.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// The fragment header of IPv6.
    pub const FRAGMENT: u8 = 44;
    /// `ICMPv6`.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// An Ethernet frame without its check sequence.
pub fn ethernet(destination: Mac, source: Mac, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &ether_type.to_be_bytes(), payload].concat()
}

/// Reads "02:00:00:aa:bb:cc".
pub fn parse_mac(text: &str) -> Result<Mac> {
    let parts: Vec<u8> = text
        .split(':')
        .map(|part| u8::from_str_radix(part, 16))
        .collect::<Result<_, _>>()
        .with_context(|| format!("{text:?} is not an Ethernet address"))?;
    ensure!(parts.len() == 6, "{text:?} is not an Ethernet address: it has {} bytes", parts.len());
    parts.try_into().ok().context("six bytes make an Ethernet address")
}

/// Writes "02:00:00:aa:bb:cc".
pub fn format_mac(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
