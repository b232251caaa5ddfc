//! What is measured, and how one sample of it is taken.

use std::time::Duration;

use anyhow::Result;

use super::{gate, scene::Scene};
use crate::{
    cpu::Core,
    traffic::{connect, tcp, tcp::TcpFlow, udp::UdpFlow},
};

/// How long and how often is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Time of a sample.
    pub(crate) time: Duration,
    /// Connections of a sample.
    pub(crate) connections: u32,
}

/// What is measured together in one sample; each gives one figure or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// One TCP stream between two processors.
    TcpOne,
    /// Four TCP streams, each on one processor.
    TcpFour,
    /// One TCP stream with both ends on one processor.
    TcpCost,
    /// Small datagrams of a flow that was answered.
    Udp,
    /// Small datagrams of a flow that was never answered.
    UdpOneWay,
    /// Round trips of small datagrams.
    RoundTrip,
    /// Short connections.
    Connect,
    /// One TCP stream over an underlay without offloads, one processor, MTU 1500.
    Wire,
    /// The same with MTU 9000.
    WireJumbo,
    /// Small datagrams between pods of one host.
    SameHostUdp,
    /// Round trips between pods of one host.
    SameHostRoundTrip,
    /// iperf3's own measurement of one stream, for comparison.
    Iperf,
}

/// MTU of the underlay in bytes, except for [`Metric::WireJumbo`].
pub(crate) const MTU: u32 = 1500;

/// MTU of the underlay for [`Metric::WireJumbo`].
pub(crate) const JUMBO: u32 = 9000;

impl Metric {
    /// All of them.
    pub(crate) const ALL: [Self; 12] = [
        Self::TcpOne,
        Self::TcpFour,
        Self::TcpCost,
        Self::Udp,
        Self::UdpOneWay,
        Self::RoundTrip,
        Self::Connect,
        Self::Wire,
        Self::WireJumbo,
        Self::SameHostUdp,
        Self::SameHostRoundTrip,
        Self::Iperf,
    ];

    /// Names of its figures; the unit is the end of each.
    pub(crate) const fn figures(self) -> &'static [&'static str] {
        match self {
            Self::TcpOne => &["tcp1_gbps"],
            Self::TcpFour => &["tcp4_gbps"],
            Self::TcpCost => &["tcp1_cpu_per_gbit"],
            Self::Udp => &["udp64_cpu_us"],
            Self::UdpOneWay => &["udp64_oneway_cpu_us"],
            Self::RoundTrip => &["rtt_spin_p50_us", "rtt_spin_p99_us"],
            Self::Connect => &["connect_cpu_us", "connect_per_s"],
            Self::Wire => &["wire1500_gbps"],
            Self::WireJumbo => &["wire9000_cpu_per_gbit"],
            Self::SameHostUdp => &["samehost_udp64_cpu_us"],
            Self::SameHostRoundTrip => &["samehost_rtt_spin_p50_us"],
            Self::Iperf => &["iperf3_gbps"],
        }
    }

    /// MTU of the underlay on which it is measured.
    pub(crate) const fn mtu(self) -> u32 {
        if matches!(self, Self::WireJumbo) { JUMBO } else { MTU }
    }

    /// Takes a sample: a value for each figure, or none where the scene has no such pair of pods.
    pub(crate) fn sample(self, scene: &Scene, cores: &[Core], effort: Effort) -> Result<Option<Vec<f64>>> {
        let (left, right, time) = (&scene.left, &scene.right, effort.time);
        let [first, second, ..] = *cores else { return Ok(None) };
        let ends = [first, second];
        let values = match self {
            Self::TcpOne => vec![TcpFlow::open(left, right)?.two_cores(ends, time)?],
            Self::TcpFour => {
                let flows = (0..4).map(|_| TcpFlow::open(left, right)).collect::<Result<Vec<_>>>()?;
                vec![tcp::together(&flows, cores, time)?]
            }
            Self::TcpCost | Self::WireJumbo => vec![TcpFlow::open(left, right)?.one_core(first, time)?.cost()],
            Self::Udp => vec![UdpFlow::open(left, right, true)?.cost(first, time)?],
            Self::UdpOneWay => vec![UdpFlow::open(left, right, false)?.cost(first, time)?],
            Self::RoundTrip => UdpFlow::open(left, right, true)?.round_trip(ends, time, [0.5, 0.99])?.to_vec(),
            Self::Connect => {
                let cost = connect::cost(left, right, first, effort.connections)?;
                vec![cost.processor, cost.rate]
            }
            Self::Wire => {
                scene.set_wire(true)?;
                let carried = TcpFlow::open(left, right)?.one_core(first, time);
                scene.set_wire(false)?;
                vec![carried?.per_core()]
            }
            Self::SameHostUdp | Self::SameHostRoundTrip => {
                let Some(neighbor) = &scene.neighbor else { return Ok(None) };
                let flow = UdpFlow::open(left, neighbor, true)?;
                if self == Self::SameHostUdp {
                    vec![flow.cost(first, time)?]
                } else {
                    flow.round_trip(ends, time, [0.5])?.to_vec()
                }
            }
            Self::Iperf => vec![gate::iperf(scene, ends, time)?],
        };
        Ok(Some(values))
    }
}
