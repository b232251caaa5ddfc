//! Routed pods, the kernel's vxlan with static neighbours, and iptables over nftables.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

use andromede_testkit::{Namespace, Underlay, packet::format_mac};
use anyhow::{Context as _, Result, ensure};

use super::{
    OVERHEAD, PODS, Programs, RULES, Scene,
    hosts::{Hosts, TUNNEL},
    unused,
};

/// Builds it.
pub(super) fn build(mtu: u32) -> Result<Scene> {
    let hosts = Hosts::new(mtu)?;
    let inner = mtu - OVERHEAD;
    let left = hosts.add_routed_pod(0, "p0", inner, Ipv4Addr::new(10, 0, 1, 1))?;
    let neighbor = hosts.add_routed_pod(0, "p1", inner, Ipv4Addr::new(10, 0, 1, 2))?;
    let right = hosts.add_routed_pod(1, "p0", inner, Ipv4Addr::new(10, 0, 2, 1))?;
    hosts.add_tunnels()?;
    for (here, there, number) in [(0, 1, 2_u8), (1, 0, 1)] {
        let (host, mac) = (hosts.host(here)?, format_mac(hosts.host(there)?.mac(TUNNEL)?));
        let peer = Ipv4Addr::new(10, 255, 0, number);
        host.ip(&format!("addr add 10.255.0.{}/24 dev {TUNNEL}", 3 - number))?;
        host.ip(&format!("neigh add {peer} lladdr {mac} dev {TUNNEL} nud permanent"))?;
        host.exec(&format!("bridge fdb append {mac} dev {TUNNEL} dst {} static", Underlay::address(number)))?;
        host.ip(&format!("route add 10.0.{number}.0/24 via {peer} dev {TUNNEL}"))?;
        load(host, "iptables-nft-restore", &rules())?;
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

/// The rules, as `iptables-restore` reads them.
fn rules() -> String {
    let mut text = String::from("*filter\n:INPUT ACCEPT\n:FORWARD DROP\n:OUTPUT ACCEPT\n:RULES -\n");
    text += "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -j RULES\n";
    for number in 1..RULES {
        let (address, port) = unused(number);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "-A RULES -s {address} -p tcp --dport {port} -j ACCEPT");
    }
    text + &format!("-A RULES -s {PODS} -j ACCEPT\nCOMMIT\n")
}

/// Runs a program that reads rules.
pub(super) fn load(host: &Namespace, line: &str, rules: &str) -> Result<()> {
    let mut words = line.split(' ');
    let mut command: Command = host.command(words.next().context("no program")?);
    let piped = command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = piped.spawn().with_context(|| format!("starting `{line}`"))?;
    // Closed at the end of the statement: the program reads to the end.
    child.stdin.take().context("the program has no input")?.write_all(rules.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "`{line}` refused the rules: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
