//! Pods on a Linux bridge with a vxlan port, filtered by nftables through `br_netfilter`.

use std::{fmt::Write as _, fs, net::Ipv4Addr};

use andromede_testkit::{Underlay, packet::format_mac};
use anyhow::{Context as _, Result};

use super::{
    INTERFACE, OVERHEAD, PODS, Programs, RULES, Scene,
    hosts::{Hosts, TUNNEL},
    routed::load,
    unused,
};
use crate::traffic::Pod;

/// Builds it.
pub(super) fn build(mtu: u32) -> Result<Scene> {
    let hosts = Hosts::new(mtu)?;
    let inner = mtu - OVERHEAD;
    let left = hosts.add_pod(0, "p0", inner, Ipv4Addr::new(10, 0, 0, 1))?;
    let neighbor = hosts.add_pod(0, "p1", inner, Ipv4Addr::new(10, 0, 0, 2))?;
    let right = hosts.add_pod(1, "p0", inner, Ipv4Addr::new(10, 0, 0, 3))?;
    hosts.add_tunnels()?;
    for (number, ports) in [(0, &["p0", "p1"][..]), (1, &["p0"])] {
        let host = hosts.host(number)?;
        host.ip("link add br0 type bridge stp_state 0 mcast_snooping 0")?;
        for port in ports {
            host.ip(&format!("link set {port} master br0"))?;
        }
        host.ip(&format!("link set {TUNNEL} mtu {inner} master br0"))?;
        host.exec(&format!("bridge link set dev {TUNNEL} learning off"))?;
        host.ip(&format!("link set br0 mtu {inner} up"))?;
        let name = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        host.run(|| fs::write(name, "1"))?.with_context(|| format!("writing {name}: is br_netfilter loaded?"))?;
        load(host, "nft -f -", &rules())?;
    }
    let pods = [(&left, 0), (&neighbor, 0), (&right, 1)];
    for (pod, host) in pods {
        let mac = format_mac(pod.namespace.mac(INTERFACE)?);
        // The other host's pods are behind its tunnel endpoint, and every pod knows every other.
        let other = hosts.host(1 - host)?;
        let behind = Underlay::address(if host == 0 { 1 } else { 2 });
        other.exec(&format!("bridge fdb append {mac} dev {TUNNEL} dst {behind} self static"))?;
        other.exec(&format!("bridge fdb replace {mac} dev {TUNNEL} master static"))?;
        pod.namespace.ip(&format!("addr add {}/16 dev {INTERFACE}", pod.address))?;
        for (stranger, _) in pods.iter().filter(|(stranger, _)| stranger.address != pod.address) {
            introduce(stranger, &pod.address.to_string(), &mac)?;
        }
    }
    Ok(Scene {
        left,
        neighbor: Some(neighbor),
        right,
        uplinks: hosts.uplinks(),
        filtered: hosts.of.to_vec(),
        _programs: Programs::None,
    })
}

fn introduce(pod: &Pod, address: &str, mac: &str) -> Result<()> {
    pod.namespace.ip(&format!("neigh replace {address} lladdr {mac} dev {INTERFACE} nud permanent"))
}

/// The rules, as `nft` reads them.
fn rules() -> String {
    let mut text =
        String::from("table ip bench {\n chain forward {\n  type filter hook forward priority 0; policy drop;\n");
    text += "  ct state established,related accept\n  ct state invalid drop\n";
    for number in 1..RULES {
        let (address, port) = unused(number);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  ip saddr {address} tcp dport {port} accept");
    }
    text + &format!("  ip saddr {PODS} counter accept\n }}\n}}\n")
}
