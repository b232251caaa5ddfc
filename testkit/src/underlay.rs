//! Hosts on one Ethernet segment.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};

use crate::namespace::{Namespace, veth_and};

/// Name of every host's interface on the underlay.
pub const UPLINK: &str = "up0";

/// MTU of an underlay that leaves workloads 1500 bytes.
pub const MTU_DEFAULT: u32 = 1550;

/// Namespaces joined by a bridge in a namespace of its own. The bridge plays the switch between hosts; the fabric has none.
#[derive(Debug)]
pub struct Underlay {
    switch: Namespace,
    mtu: u32,
    members: u32,
}

impl Underlay {
    /// A segment on which nobody is yet.
    pub fn new(mtu: u32) -> Result<Self> {
        Self::within(Namespace::new()?, mtu)
    }

    /// The same, with the bridge in a namespace that exists.
    pub fn within(switch: Namespace, mtu: u32) -> Result<Self> {
        let bridge = "link add br0 type bridge stp_state 0 mcast_snooping 0".to_owned();
        switch.ip_batch(&[bridge, format!("link set br0 mtu {mtu} up")])?;
        Ok(Self { switch, mtu, members: 0 })
    }

    /// The address 192.0.2.`number` (RFC 5737).
    pub const fn address(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, number)
    }

    /// The segment's MTU in bytes.
    pub const fn mtu(&self) -> u32 {
        self.mtu
    }

    /// The namespace of the bridge `br0`; its ports are `port1`, `port2`... in the order of joining.
    pub const fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// A new namespace on the segment, with the interface [`UPLINK`] and the address 192.0.2.`number`/24.
    pub fn join(&mut self, number: u8) -> Result<Namespace> {
        let host = Namespace::new()?;
        self.join_as(&host, number)?;
        Ok(host)
    }

    /// The same with a namespace that exists.
    pub fn join_as(&mut self, host: &Namespace, number: u8) -> Result<()> {
        let port = self.next_port();
        self.plug_and(host, &port, &[format!("addr add {}/24 dev {UPLINK}", Self::address(number))])
    }

    /// Gives a namespace an interface [`UPLINK`] on the segment, without an address. Returns the bridge's port.
    pub fn plug(&mut self, host: &Namespace) -> Result<String> {
        let port = self.next_port();
        self.plug_port(host, &port)?;
        Ok(port)
    }

    fn next_port(&mut self) -> String {
        self.members += 1;
        format!("port{}", self.members)
    }

    /// The same, with a name for the bridge's port.
    pub fn plug_port(&self, host: &Namespace, port: &str) -> Result<()> {
        self.plug_and(host, port, &[])
    }

    /// The same; `lines` are what `ip` is told in the host's namespace.
    fn plug_and(&self, host: &Namespace, port: &str, lines: &[String]) -> Result<()> {
        let joined = veth_and(&self.switch, port, host, UPLINK, self.mtu, "master br0", lines);
        joined.context("plugging a host into the underlay")
    }
}

/// Turns the offloads of an interface on or off, as a network card without any would be.
pub fn set_offloads(namespace: &Namespace, interface: &str, on: bool) -> Result<()> {
    let word = if on { "on" } else { "off" };
    namespace.exec(&format!("ethtool -K {interface} tx {word} tso {word} gso {word}")).map(drop)?;
    // Not every kernel offers these to be changed on a veth; without them tunnel segmentation follows `tso`.
    let _ = namespace.exec(&format!("ethtool -K {interface} tx-udp_tnl-segmentation {word}"));
    let _ = namespace.exec(&format!("ethtool -K {interface} tx-udp_tnl-csum-segmentation {word}"));
    let _ = namespace.exec(&format!("ethtool -K {interface} tx-udp-segmentation {word}"));
    Ok(())
}
