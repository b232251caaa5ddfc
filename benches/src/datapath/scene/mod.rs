//! Two hosts and three pods, joined in different ways.

mod andromede;
mod bridge;
mod hosts;
mod plain;
mod routed;

use std::{net::Ipv4Addr, path::Path};

use andromede_testkit::{Namespace, namespace::veth};
use anyhow::{Result, bail};

use crate::traffic::{Pod, connect};

/// Rules on each host, the one that matches included.
pub(crate) const RULES: u32 = 1_000;

/// Where all pods are.
const PODS: &str = "10.0.0.0/16";

/// Name of a pod's interface.
const INTERFACE: &str = "eth0";

/// Bytes that VXLAN over IPv4 takes of every packet.
const OVERHEAD: u32 = 50;

/// How pods are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Config {
    /// A veth pair between two pods: no host, no overlay, no firewall.
    Direct,
    /// Routed by the hosts' kernels: no overlay, no firewall.
    Plain,
    /// Linux bridge, kernel vxlan, nftables with connection tracking.
    Bridge,
    /// Routed, kernel vxlan, iptables-nft with connection tracking.
    Routed,
    /// This project.
    Andromede,
    /// Another build of this project's agent.
    Against,
}

impl Config {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Direct, Self::Plain, Self::Bridge, Self::Routed, Self::Andromede, Self::Against];

    /// As the reports call it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Plain => "plain",
            Self::Bridge => "br1000",
            Self::Routed => "rtipt",
            Self::Andromede => "andromede",
            Self::Against => "against",
        }
    }

    /// Firewall rules in force on each host.
    pub(crate) const fn rules(self) -> u32 {
        match self {
            Self::Direct | Self::Plain => 0,
            Self::Bridge | Self::Routed | Self::Andromede | Self::Against => RULES,
        }
    }

    /// Builds it over an underlay of this MTU; `against` is the folder of the other build.
    pub(crate) fn build(self, mtu: u32, against: Option<&Path>) -> Result<Scene> {
        let scene = match self {
            Self::Direct => direct(mtu),
            Self::Plain => plain::build(mtu),
            Self::Bridge => bridge::build(mtu),
            Self::Routed => routed::build(mtu),
            Self::Andromede => andromede::build(mtu, None),
            Self::Against => andromede::build(mtu, against),
        }?;
        for pod in [Some(&scene.left), scene.neighbor.as_ref(), Some(&scene.right)].into_iter().flatten() {
            connect::prepare(pod)?;
        }
        Ok(scene)
    }
}

/// Pods that reach each other. All of it ends with this value.
#[derive(Debug)]
pub(crate) struct Scene {
    /// A pod on the first host.
    pub(crate) left: Pod,
    /// Another pod on the first host; not where there are no hosts.
    pub(crate) neighbor: Option<Pod>,
    /// A pod on the second host.
    pub(crate) right: Pod,
    /// Both ends of the underlay.
    uplinks: [(Namespace, &'static str); 2],
    /// Namespaces in which a firewall by netfilter must have seen the traffic.
    filtered: Vec<Namespace>,
    /// What runs as long as the scene does.
    _programs: Programs,
}

/// Programs that a scene needs.
#[derive(Debug)]
enum Programs {
    /// None: the kernel does it.
    None,
    /// Controller and agents.
    Andromede { _fabric: andromede::Fabric },
}

impl Scene {
    /// Makes the underlay a network card without segmentation and tunnel offloads, but with receive aggregation (GRO), or one
    /// that takes whole TCP trains.
    pub(crate) fn set_wire(&self, wire: bool) -> Result<()> {
        let (send, receive) = if wire { ("off", "on") } else { ("on", "off") };
        for (namespace, interface) in &self.uplinks {
            namespace.exec(&format!("ethtool -K {interface} gro {receive} tso {send} gso {send}"))?;
            // Not every kernel lets these of a veth be changed; without them tunnel segmentation follows `tso`.
            for feature in ["tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation", "tx-udp-segmentation"] {
                let _ = namespace.exec(&format!("ethtool -K {interface} {feature} {send}"));
            }
        }
        Ok(())
    }

    /// Fails if the netfilter rules of a host have not seen the traffic that passed.
    pub(crate) fn check_filters(&self) -> Result<()> {
        for namespace in &self.filtered {
            let output = namespace.exec("nft list ruleset")?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let counts = text.split("counter packets ").skip(1);
            let seen: u64 = counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum();
            if seen == 0 {
                bail!("traffic passes by the host's netfilter rules");
            }
        }
        Ok(())
    }
}

/// Two pods and nothing between them.
fn direct(mtu: u32) -> Result<Scene> {
    let (left, right) = (Namespace::new()?, Namespace::new()?);
    veth(&left, INTERFACE, &right, INTERFACE, mtu)?;
    let pod = |namespace: &Namespace, address: Ipv4Addr| -> Result<Pod> {
        namespace.ip(&format!("addr add {address}/24 dev {INTERFACE}"))?;
        Ok(Pod { namespace: namespace.clone(), address })
    };
    Ok(Scene {
        left: pod(&left, Ipv4Addr::new(10, 0, 0, 1))?,
        neighbor: None,
        right: pod(&right, Ipv4Addr::new(10, 0, 0, 3))?,
        uplinks: [(left, INTERFACE), (right, INTERFACE)],
        filtered: Vec::new(),
        _programs: Programs::None,
    })
}

/// An address and a port that no packet has: a rule for it never matches.
fn unused(number: u32) -> (Ipv4Addr, u32) {
    (Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 1)) + number), 20_000 + number)
}
