//! Two tenants on two hosts, both with the same addresses and the same rules.

use std::{net::IpAddr, time::Duration};

use andromede_testkit::{Fabric, FabricOptions, Workload, fabric::hosts_bundle, wait};
use andromede_tests::{
    bundle::{ANYTHING_IN, group_name, network_name, port_name},
    dropped_more,
};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{live::Live, noise::Noise};
use crate::{
    cpu::Core,
    traffic::{Pod, connect},
};

/// The tenant that is measured.
pub(super) const VICTIM: &str = "victim";
/// The tenant that floods.
pub(super) const NOISE: &str = "noise";

/// Where both ends are, of the flood as well as of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// On one host.
    OneHost,
    /// Senders on one, receivers on another.
    TwoHosts,
}

impl Place {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::OneHost, Self::TwoHosts];
}

/// The ends of a tenant: the sender and its peers on the same and on the other host.
const PORTS: [(&str, u8, u8); 3] = [("a", 1, 11), ("b", 1, 12), ("c", 2, 13)];

/// What a port of the two may have, so that what its *tenant* may have is the bound: with the flood, of all that it may fill; for what is
/// measured, because hundreds of connections a second of one port are its business.
const LIMITS: &str =
    "limits: {flowsInbound: 1048576, flowsOutbound: 1048576, halfOpenFlows: 1048576, newFlowsPerSecond: 1000000}\n";

/// How long the network remembers: as short as may be, so that the flood opens connections without end.
const TIMEOUTS: &str =
    "timeouts: {tcpTransitorySeconds: 10, tcpClosedSeconds: 1, udpRepliedSeconds: 10, udpOneWaySeconds: 5}\n";

/// How long the flood's connections may take to be over: the longest timeout, and the sweep after it.
const OVER: Duration = Duration::from_secs(40);

/// A fabric with both tenants.
#[derive(Debug)]
pub(super) struct Scene {
    fabric: Fabric,
    victim: [Pod; 3],
    noise: [Noise; 2],
    live: Live,
    /// The flood's ends, which stay as long as it does.
    _workloads: [Workload; 3],
}

impl Scene {
    /// Builds it; the victim has connections that live.
    pub(super) fn build() -> Result<Self> {
        let fabric = Fabric::start(FabricOptions::default())?;
        fabric.apply(&bundle())?;
        let victim = attach(&fabric, VICTIM)?;
        let workloads = attach(&fabric, NOISE)?;
        let [a, b, c] = &workloads;
        let noise = [Noise::new(a, b)?, Noise::new(a, c)?];
        let victim = victim.each_ref().map(pod);
        let [a, b, c] = victim;
        let victim = [a?, b?, c?];
        victim.iter().try_for_each(connect::prepare)?;
        fabric.wait_in_force()?;
        let [a, b, c] = &victim;
        let live = Live::open(a, [b, c])?;
        Ok(Self { fabric, victim, noise, live, _workloads: workloads })
    }

    /// The two ends that are measured.
    pub(super) const fn victim(&self, place: Place) -> (&Pod, &Pod) {
        let [from, same_host, other_host] = &self.victim;
        match place {
            Place::OneHost => (from, same_host),
            Place::TwoHosts => (from, other_host),
        }
    }

    /// The other tenant's noise.
    pub(super) const fn noise(&self, place: Place) -> &Noise {
        let [same_host, other_host] = &self.noise;
        match place {
            Place::OneHost => same_host,
            Place::TwoHosts => other_host,
        }
    }

    /// Floods in both places, and fails unless the flood filled all that its tenant may have, while every connection of the
    /// victim lived in the row that it had, and new ones were opened. `cores` are the victim's and the flood's.
    pub(super) fn gate(&self, cores: [Core; 2]) -> Result<()> {
        const LONG: Duration = Duration::from_secs(2);
        let [core, other] = cores;
        let before = self.live.rows(&self.fabric)?;
        for place in Place::ALL {
            let (from, to) = self.victim(place);
            let meanwhile = || {
                std::thread::sleep(LONG);
                connect::cost(from, to, core, 100).map(drop)
            };
            self.noise(place).flood(other, meanwhile)?;
        }
        for reason in ["tenant-flows", "spoofed-source"] {
            dropped_more(&self.fabric, reason, 0, 1_000).context("the flood does not fill what it may")?;
        }
        self.unharmed()?;
        let after = self.live.rows(&self.fabric)?;
        ensure!(before == after, "connections of the victim have other rows than before the flood");
        Ok(())
    }

    /// Fails if a connection of the victim was refused, evicted or disturbed.
    pub(super) fn unharmed(&self) -> Result<()> {
        let starved = andromede_tests::starved(&self.fabric, VICTIM)?;
        ensure!(starved.is_empty(), "connections of the victim were refused: {starved:?}");
        self.live.check()
    }

    /// Waits until nothing is left of the flood.
    pub(super) fn quiet(&self) -> Result<()> {
        wait::until("the flood's connections are over", OVER, || {
            let arguments = ["flows", "--network", &network_name(NOISE), "--limit", "1"];
            let flows = self.fabric.control().json(&arguments).ok()?;
            let left = flows.get("flows").and_then(Value::as_array).map_or(0, Vec::len);
            (left == 0).then_some(())
        })
    }
}

fn attach(fabric: &Fabric, tenant: &str) -> Result<[Workload; 3]> {
    let of = |(port, host, _): (&str, u8, u8)| fabric.attach(host, &port_name(tenant, port));
    let [a, b, c] = PORTS.map(of);
    Ok([a?, b?, c?])
}

fn pod(workload: &Workload) -> Result<Pod> {
    let IpAddr::V4(address) = workload.address(false)? else { bail!("{} has no IPv4 address", workload.port()) };
    Ok(Pod { namespace: workload.namespace().clone(), address })
}

fn bundle() -> String {
    let mut parts = vec![hosts_bundle(2)];
    for tenant in [VICTIM, NOISE] {
        let (network, group) = (network_name(tenant), group_name(tenant, "open"));
        parts.extend([
            format!("---\nkind: Tenant\nname: tenants/{tenant}\n"),
            format!("---\nkind: Network\nname: {network}\n{TIMEOUTS}"),
            format!("---\nkind: Subnet\nname: {network}/subnets/v4\ncidr: 10.0.0.0/24\n"),
            format!("---\nkind: SecurityGroup\nname: {group}\nrules: [{ANYTHING_IN}]\n"),
        ]);
        parts.extend(PORTS.map(|(port, host, last)| {
            format!(
                "---\nkind: Port\nname: {}\naddresses: [10.0.0.{last}]\nhost: hosts/h{host}\nsecurityGroups: [{group}]\n{LIMITS}",
                port_name(tenant, port)
            )
        }));
    }
    parts.concat()
}
