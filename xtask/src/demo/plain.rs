//! The same stream without the fabric: two workloads behind plain routers on the same underlay.

use std::{fs, net::IpAddr, time::Duration};

use andromede_testkit::{
    Namespace, Underlay,
    namespace::veth,
    traffic::{Ping, ping},
    underlay::{MTU_DEFAULT, UPLINK},
};
use anyhow::{Context as _, Result, ensure};

use super::{expect::STREAM_PORT, fabric::Demo, place};

/// Bytes that VXLAN takes of every packet: the workloads' MTU is the same as in the fabric.
const OVERHEAD: u32 = 50;

/// A router on the underlay and the workload behind it.
struct Side {
    router: Namespace,
    workload: Namespace,
    /// Last byte of the router's underlay address, and third byte of the workload's network 198.18.N.0/24 (RFC 2544).
    number: u8,
}

impl Side {
    fn new(demo: &Demo, number: u8) -> Result<Self> {
        let router = place::make_namespace(&format!("plain-router{number}"))?;
        let workload = place::make_namespace(&format!("plain-workload{number}"))?;
        demo.underlay().plug_port(&router, &format!("plain{number}"))?;
        router.ip(&format!("addr add {}/24 dev {UPLINK}", Underlay::address(number)))?;
        router.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?.context("turning on forwarding")?;
        veth(&router, "inner", &workload, "eth0", MTU_DEFAULT - OVERHEAD)?;
        router.ip(&format!("addr add 198.18.{number}.1/24 dev inner"))?;
        workload.ip(&format!("addr add 198.18.{number}.2/24 dev eth0"))?;
        workload.ip(&format!("route add default via 198.18.{number}.1"))?;
        Ok(Self { router, workload, number })
    }

    fn route_to(&self, other: &Self) -> Result<()> {
        self.router.ip(&format!("route add 198.18.{}.0/24 via {}", other.number, Underlay::address(other.number)))
    }

    fn address(&self) -> IpAddr {
        [198, 18, self.number, 2].into()
    }
}

/// Two such workloads that reach each other.
pub(super) struct Plain {
    from: Side,
    to: Side,
}

impl Plain {
    /// Makes them.
    pub(super) fn new(demo: &Demo) -> Result<Self> {
        let (from, to) = (Side::new(demo, 201)?, Side::new(demo, 202)?);
        from.route_to(&to)?;
        to.route_to(&from)?;
        let report = ping(&from.workload, to.address(), Ping { count: 5, ..Ping::default() })?;
        ensure!(report.received() > 0, "the plain path does not answer a ping");
        Ok(Self { from, to })
    }

    /// Gigabits in a second of one TCP stream between them.
    pub(super) fn throughput(&self, time: Duration) -> Result<f64> {
        let address = (self.to.address(), STREAM_PORT).into();
        andromede_testkit::traffic::throughput(&self.from.workload, &self.to.workload, address, time)
    }
}
