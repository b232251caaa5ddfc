//! Pods routed over the underlay by the kernel, with neither overlay nor firewall.

use std::net::Ipv4Addr;

use andromede_testkit::Underlay;
use anyhow::Result;

use super::{Programs, Scene, hosts::Hosts};

/// Builds it.
pub(super) fn build(mtu: u32) -> Result<Scene> {
    let hosts = Hosts::new(mtu)?;
    let left = hosts.add_routed_pod(0, "p0", mtu, Ipv4Addr::new(10, 0, 1, 1))?;
    let neighbor = hosts.add_routed_pod(0, "p1", mtu, Ipv4Addr::new(10, 0, 1, 2))?;
    let right = hosts.add_routed_pod(1, "p0", mtu, Ipv4Addr::new(10, 0, 2, 1))?;
    hosts.host(0)?.ip(&format!("route add 10.0.2.0/24 via {}", Underlay::address(2)))?;
    hosts.host(1)?.ip(&format!("route add 10.0.1.0/24 via {}", Underlay::address(1)))?;
    Ok(Scene {
        left,
        neighbor: Some(neighbor),
        right,
        uplinks: hosts.uplinks(),
        filtered: Vec::new(),
        _programs: Programs::None,
    })
}
