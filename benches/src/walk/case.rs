//! What is timed, and how one sample of it is taken.

use std::time::Instant;

use andromede_abi::{FlowKey, HostConfig, PortLimits, maps, target};
use andromede_dataplane::{Dataplane, FrameContext, Hook, Kernel, Measure, Measures, Sizes};
use andromede_pipeline::{Context, Scratch, carry_out, decide, memory::Bytes};
use andromede_testkit::{
    Namespace,
    packet::{Ends, vxlan},
};
use andromede_tests::twin::{
    END_LOCAL_A, END_REMOTE, Met, SmallFabric, Twin, UNDERLAY_IFINDEX, ifindex,
    talk::{VNI, outer_ends},
};
use anyhow::{Context as _, Result, ensure};
use nix::time::{ClockId, clock_gettime};

/// Runs of a sample of what changes nothing.
const TIMES: u32 = 100_000;
/// Runs of a sample that fills the flow table, and the rows that the table has.
const ROWS: (u32, u32) = (30_000, 65_536);
/// UDP ports of the flow that is there.
const PORTS: (u16, u16) = (40_000, 53);

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// An empty program.
    Nothing,
    /// `decide` about a workload's packet of a flow that is there.
    Workload,
    /// `decide` about the answer from the underlay.
    Underlay,
    /// As [`Self::Workload`], by the flow table: as the first packet in every second is.
    WorkloadLookup,
    /// As [`Self::Underlay`], likewise.
    UnderlayLookup,
    /// A workload's packet that opens a flow.
    Opening,
    /// Inserting a row into the flow table.
    Insert,
    /// Encapsulation and decapsulation.
    Tunnel,
    /// `decide` in this process, as [`Self::Workload`].
    InMemory,
}

impl Case {
    /// All of them.
    pub(super) const ALL: [Self; 9] = [
        Self::Nothing,
        Self::Workload,
        Self::Underlay,
        Self::WorkloadLookup,
        Self::UnderlayLookup,
        Self::Opening,
        Self::Insert,
        Self::Tunnel,
        Self::InMemory,
    ];

    /// For people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Nothing => "empty program",
            Self::Workload => "decide, from a workload, established",
            Self::Underlay => "decide, from the underlay, established",
            Self::WorkloadLookup => "the same by lookup, from a workload",
            Self::UnderlayLookup => "the same by lookup, from the underlay",
            Self::Opening => "decide and claim, a new flow",
            Self::Insert => "insert of a flow row",
            Self::Tunnel => "encapsulate and decapsulate",
            Self::InMemory => "decide in userspace, established",
        }
    }

    /// Name of its figure.
    pub(super) const fn figure(self) -> &'static str {
        match self {
            Self::Nothing => "walk_empty_ns",
            Self::Workload => "walk_workload_established_ns",
            Self::Underlay => "walk_underlay_established_ns",
            Self::WorkloadLookup => "walk_workload_lookup_ns",
            Self::UnderlayLookup => "walk_underlay_lookup_ns",
            Self::Opening => "walk_new_flow_ns",
            Self::Insert => "walk_insert_ns",
            Self::Tunnel => "walk_tunnel_pair_ns",
            Self::InMemory => "walk_userspace_ns",
        }
    }

    /// Does it run in the kernel?
    pub(super) const fn in_kernel(self) -> bool {
        !matches!(self, Self::InMemory)
    }
}

/// A loaded packet path with the rows of a small fabric, and one flow from a workload to another host.
pub(super) struct Bench {
    twin: Twin,
    measures: Measures,
    host: HostConfig,
    /// A datagram of the workload.
    sent: Met,
    /// Its answer from the underlay.
    received: Met,
}

impl Bench {
    /// A namespace with the interfaces that it needs.
    pub(super) fn namespace() -> Result<Namespace> {
        SmallFabric::namespace()
    }

    /// Loads it; the calling thread must be in the namespace.
    pub(super) fn load() -> Result<Self> {
        let fabric = SmallFabric::new()?;
        let host = HostConfig { features: Kernel::probe().features(), ..fabric.host_config() };
        let mut sizes = Sizes::small();
        sizes.set(maps::FLOWS.name, ROWS.1)?;
        let (kernel, measures) = Dataplane::load_with_measures(&host, &sizes)?;
        // Ten thousand flows are opened in a moment: that is what is timed, not its refusal.
        let mut rows = fabric.rows().clone();
        rows.ports.values_mut().for_each(|port| port.limits = PortLimits::default());
        rows.networks.values_mut().for_each(|network| network.tenant_flows = 0);
        let twin = Twin::of(kernel, host, &rows)?;
        let (here, there) = (END_LOCAL_A, END_REMOTE);
        let ends = Ends::new((here.mac(), here.v4()), (there.mac(), there.v4()));
        let answer = Ends::new((there.mac(), there.v4()), (here.mac(), here.v4())).udp(PORTS.1, PORTS.0, &[0; 22]);
        let sent = Met::new(Hook::FromWorkload, ifindex(0, here), ends.udp(PORTS.0, PORTS.1, &[0; 22]));
        let outer = vxlan(&outer_ends(2), 50_000, *VNI.first().context("a VNI")?, &answer);
        let received = Met::new(Hook::FromUnderlay, UNDERLAY_IFINDEX, outer);
        Ok(Self { twin, measures, host, sent, received })
    }

    /// Nanoseconds of one run.
    pub(super) fn sample(&self, case: Case) -> Result<f64> {
        self.open_flow()?;
        match case {
            Case::Nothing => self.time(Measure::Nothing, &self.sent, TIMES, 0),
            Case::Workload => self.time(Measure::Workload, &self.sent, TIMES, target::ENCAP),
            Case::Underlay => self.time(Measure::Underlay, &self.received, TIMES, target::DELIVER),
            Case::WorkloadLookup => self.time(Measure::WorkloadLookup, &self.sent, TIMES, target::ENCAP),
            Case::UnderlayLookup => self.time(Measure::UnderlayLookup, &self.received, TIMES, target::DELIVER),
            Case::Opening => {
                let time = self.time(Measure::Opening, &self.sent, ROWS.0, target::ENCAP)?;
                self.clear_flows()?;
                Ok(time)
            }
            Case::Insert => {
                self.time(Measure::Opening, &self.sent, 1, target::ENCAP)?;
                let time = self.time(Measure::Insert, &self.sent, ROWS.0, 0)?;
                self.clear_flows()?;
                Ok(time)
            }
            Case::Tunnel => {
                self.time(Measure::Workload, &self.sent, 1, target::ENCAP)?;
                self.time(Measure::Tunnel, &self.sent, TIMES, 0)
            }
            Case::InMemory => self.in_memory(),
        }
    }

    fn time(&self, measure: Measure, met: &Met, times: u32, expected: u8) -> Result<f64> {
        let context = FrameContext { ifindex: met.ifindex, ..FrameContext::default() };
        let measured = self.measures.run(measure, &met.frame, context, times)?;
        ensure!(measured.result == i32::from(expected), "the program returned {}", measured.result);
        Ok(measured.nanoseconds.into())
    }

    /// Sees to it that the flow is there and was seen a moment ago, in the kernel and in memory.
    fn open_flow(&self) -> Result<()> {
        for met in [&self.sent, &self.received] {
            let context = FrameContext { ifindex: met.ifindex, ..FrameContext::default() };
            self.twin.kernel().test_bench()?.run(met.hook, &met.frame, context)?;
        }
        Ok(())
    }

    fn clear_flows(&self) -> Result<()> {
        let flows = &self.twin.kernel().tables.flows;
        let keys: Vec<FlowKey> = flows.all()?.into_iter().map(|(key, _)| key).collect();
        let evicted = self.twin.kernel().reaper()?.evict(&keys)?;
        ensure!(evicted == keys.len(), "{evicted} of {} flows were removed", keys.len());
        Ok(())
    }

    fn in_memory(&self) -> Result<f64> {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)?;
        let context = Context::at(
            self.sent.hook.number(),
            self.sent.ifindex,
            std::time::Duration::from(now).as_nanos() as u64,
            &self.host,
        );
        let (frame, tables) = (Bytes(self.sent.frame.clone()), self.twin.memory());
        let mut scratch = Scratch::EMPTY;
        decide(&frame, &context, tables, &mut scratch);
        carry_out(tables, context.now, &mut scratch);
        let begin = Instant::now();
        for _ in 0..TIMES {
            decide(std::hint::black_box(&frame), &context, tables, &mut scratch);
            std::hint::black_box(&scratch.verdict);
        }
        Ok(begin.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES))
    }
}
