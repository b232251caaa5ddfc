//! Two hosts with a cable between them.

use std::{fs, net::Ipv4Addr};

use andromede_testkit::{
    Namespace, Underlay,
    namespace::veth,
    packet::{VXLAN_PORT, format_mac},
    underlay::UPLINK,
};
use anyhow::{Context as _, Result};

use super::INTERFACE;
use crate::traffic::Pod;

/// Name of the kernel's vxlan device.
pub(super) const TUNNEL: &str = "vx0";

/// Address of the router that every routed pod sees, answered for by its host.
const ROUTER: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// Two namespaces, and a veth pair for the underlay: 192.0.2.1 and 192.0.2.2. No switch stands between them, whose cost
/// would hide that of the hosts.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    /// The hosts.
    pub(super) of: [Namespace; 2],
}

impl Hosts {
    /// Makes them.
    pub(super) fn new(mtu: u32) -> Result<Self> {
        let of = [Namespace::new()?, Namespace::new()?];
        veth(&of[0], UPLINK, &of[1], UPLINK, mtu)?;
        for (host, number) in of.iter().zip([1, 2]) {
            host.ip(&format!("addr add {}/24 dev {UPLINK}", Underlay::address(number)))?;
            host.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?.context("turning on forwarding")?;
        }
        Ok(Self { of })
    }

    /// Both ends of the cable.
    pub(super) fn uplinks(&self) -> [(Namespace, &'static str); 2] {
        let [first, second] = &self.of;
        [(first.clone(), UPLINK), (second.clone(), UPLINK)]
    }

    /// Gives both hosts a vxlan device that learns nothing.
    pub(super) fn add_tunnels(&self) -> Result<()> {
        for (host, number) in self.of.iter().zip([1, 2]) {
            let local = Underlay::address(number);
            host.ip(&format!("link add {TUNNEL} type vxlan id 100 local {local} dstport {VXLAN_PORT} nolearning"))?;
            host.ip(&format!("link set {TUNNEL} up"))?;
        }
        Ok(())
    }

    /// A pod on a host, whose end of the pair is `name`; it has no address yet.
    pub(super) fn add_pod(&self, host: usize, name: &str, mtu: u32, address: Ipv4Addr) -> Result<Pod> {
        let namespace = Namespace::new()?;
        veth(self.host(host)?, name, &namespace, INTERFACE, mtu)?;
        Ok(Pod { namespace, address })
    }

    /// A pod that reaches everything through its host, which routes to it.
    pub(super) fn add_routed_pod(&self, host: usize, name: &str, mtu: u32, address: Ipv4Addr) -> Result<Pod> {
        let pod = self.add_pod(host, name, mtu, address)?;
        let (inside, outside) = (&pod.namespace, self.host(host)?);
        inside.ip(&format!("addr add {address}/32 dev {INTERFACE}"))?;
        inside.ip(&format!("route add {ROUTER} dev {INTERFACE}"))?;
        inside.ip(&format!("route add default via {ROUTER} dev {INTERFACE}"))?;
        let mac = format_mac(outside.mac(name)?);
        inside.ip(&format!("neigh add {ROUTER} lladdr {mac} dev {INTERFACE} nud permanent"))?;
        outside.ip(&format!("route add {address}/32 dev {name}"))?;
        let mac = format_mac(inside.mac(INTERFACE)?);
        outside.ip(&format!("neigh add {address} lladdr {mac} dev {name} nud permanent"))?;
        Ok(pod)
    }

    /// Host 0 or 1.
    pub(super) fn host(&self, number: usize) -> Result<&Namespace> {
        self.of.get(number).with_context(|| format!("there is no host {number}"))
    }
}
