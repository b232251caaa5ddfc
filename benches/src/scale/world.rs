//! A loaded packet path with tables of a given size.

use std::{collections::BTreeSet, fs, time::Duration};

use andromede_abi::{
    Address, CellKey, CellRow, FlowKey, HostConfig, LocationKey, LocationRow, PolicyPrefixKey, PortLimits,
    PrefixClasses, Prefixed, ServiceClasses, ServiceKey, maps, pair, remote_level, service_level, target,
};
use andromede_dataplane::{Dataplane, FrameContext, Hook, Kernel, Measure, Measures, Sizes};
use andromede_pipeline::{Context, Scratch, carry_out, decide, memory::Bytes};
use andromede_plan::Rows;
use andromede_testkit::{Namespace, packet::Ends};
use andromede_tests::{
    counted::Counted,
    twin::{END_LOCAL_A, END_REMOTE, SmallFabric, Twin, ifindex},
};
use anyhow::{Context as _, Result, ensure};
use nix::time::{ClockId, clock_gettime};

/// How much there is of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Rules in the set of the sending port that do not match, and one that does.
    pub(super) rules: u32,
    /// Ports on other hosts.
    pub(super) ports: u32,
    /// Live flows.
    pub(super) flows: u32,
}

/// Which flow, or which remote port, is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// The same again.
    Hot,
    /// Another, by chance.
    Random,
}

/// Runs of a sample of established packets, and of new flows: their rows have room beside those that live.
const TIMES: u32 = 50_000;
const NEW: u32 = 5_000;
/// The first of the slots that epochs of remote ports have.
const SLOTS: u32 = 1_000;
/// The first bit of a destination's address in `Measure::OpeningRandom`, and the second byte in `Measure::Random`.
const REMOTE: [u8; 2] = [11, 16];
/// Where the payload of a UDP datagram over IPv4 begins.
const PAYLOAD: usize = 14 + 20 + 8;

/// The packet path, loaded.
pub(super) struct World {
    twin: Twin,
    measures: Measures,
    host: HostConfig,
    size: Size,
    sent: Vec<u8>,
}

impl World {
    /// A namespace with the interfaces that it needs.
    pub(super) fn namespace() -> Result<Namespace> {
        SmallFabric::namespace()
    }

    /// Loads it; the calling thread must be in the namespace.
    pub(super) fn load(size: Size) -> Result<Self> {
        let fabric = SmallFabric::new()?;
        let host = HostConfig { features: Kernel::probe().features(), ..fabric.host_config() };
        let mut sizes = Sizes::default();
        sizes.set(maps::FLOWS.name, size.flows + 4 * NEW)?;
        let (kernel, measures) = Dataplane::load_with_measures(&host, &sizes)?;
        let mut rows = fabric.rows().clone();
        rows.ports.values_mut().for_each(|port| port.limits = PortLimits::default());
        rows.networks.values_mut().for_each(|network| network.tenant_flows = 0);
        add_ports(&mut rows, size.ports)?;
        add_rules(&mut rows, size.rules)?;
        let twin = Twin::of(kernel, host, &rows)?;
        let ends = Ends::new((END_LOCAL_A.mac(), END_LOCAL_A.v4()), (END_REMOTE.mac(), END_REMOTE.v4()));
        let world = Self { twin, measures, host, size, sent: ends.udp(40_000, 53, &[0; 22]) };
        world.add_flows()?;
        Ok(world)
    }

    /// Nanoseconds of an empty program.
    pub(super) fn nothing(&self) -> Result<f64> {
        self.time(Measure::Nothing, &self.sent, 0, TIMES)
    }

    /// Nanoseconds of deciding about a packet of a live flow.
    pub(super) fn established(&self, keys: Keys) -> Result<f64> {
        self.time(Measure::Random, &self.frame(keys, self.size.flows), target::ENCAP, TIMES)
    }

    /// Nanoseconds of opening a flow. It is removed again.
    pub(super) fn new_flow(&self, keys: Keys) -> Result<f64> {
        let time = self.time(Measure::OpeningRandom, &self.frame(keys, self.size.ports), target::ENCAP, NEW)?;
        let flows = &self.twin.kernel().tables.flows;
        let mut opened = Vec::new();
        flows.for_each(|key, row| {
            if row.hold != 0 {
                opened.push(key);
            }
        })?;
        let removed = self.twin.kernel().reaper()?.evict(&opened)?;
        ensure!(removed == opened.len(), "{removed} of {} flows were removed", opened.len());
        Ok(time)
    }

    /// The frame, with the mask by which a program draws: so many, to the next smaller power of two.
    fn frame(&self, keys: Keys, of: u32) -> Vec<u8> {
        let mask = if keys == Keys::Hot { 0 } else { (1 << of.ilog2()) - 1_u32 };
        let mut frame = self.sent.clone();
        let words = [mask, 1].into_iter().flat_map(u32::to_ne_bytes);
        frame.splice(PAYLOAD..PAYLOAD + 8, words);
        frame
    }

    fn time(&self, measure: Measure, frame: &[u8], expected: u8, times: u32) -> Result<f64> {
        let context = FrameContext { ifindex: ifindex(0, END_LOCAL_A), ..FrameContext::default() };
        let measured = self.measures.run(measure, frame, context, times)?;
        ensure!(measured.result == i32::from(expected), "the program returned {}", measured.result);
        Ok(measured.nanoseconds.into())
    }

    /// Live flows: copies of one that was opened, under other keys, in the kernel's table alone.
    fn add_flows(&self) -> Result<()> {
        let context = FrameContext { ifindex: ifindex(0, END_LOCAL_A), ..FrameContext::default() };
        self.twin.kernel().test_bench()?.run(Hook::FromWorkload, &self.sent, context)?;
        let flows = &self.twin.kernel().tables.flows;
        let (opened, row) = flows.all()?.into_iter().next().context("a flow was opened")?;
        for number in 0..self.size.flows {
            let remote = [10, REMOTE[1] + (number >> 16) as u8, 0, 3];
            let mut key = FlowKey { high: Address::from(std::net::Ipv4Addr::from(remote)), ..opened };
            // The program writes it as it stands in a register.
            key.low_port = number as u16;
            flows.insert(&key, &andromede_abi::FlowRow { owner: key.owner(), hold: 0, ..row })?;
        }
        Ok(())
    }

    /// Lookups that the pipeline makes for an established packet, and for a new flow.
    pub(super) fn lookups(&self) -> Result<[u32; 2]> {
        let tables = self.twin.memory();
        let [new, established] = [0, 1].map(|_| self.count(tables));
        Ok([established?, new?])
    }

    fn count(&self, tables: &andromede_pipeline::memory::Tables) -> Result<u32> {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)?;
        let context = Context::at(
            Hook::FromWorkload.number(),
            ifindex(0, END_LOCAL_A),
            Duration::from(now).as_nanos() as u64,
            &self.host,
        );
        let (counted, mut scratch) = (Counted::new(tables), Scratch::EMPTY);
        decide(&Bytes(self.sent.clone()), &context, &counted, &mut scratch);
        carry_out(&counted, context.now, &mut scratch);
        let verdict = scratch.verdict;
        ensure!(verdict.target.kind as u8 == target::ENCAP, "the packet does not pass: {verdict:?}");
        Ok(counted.lookups())
    }
}

/// Ports on the other host at 11.0.0.0 and on, with epochs of their own.
fn add_ports(rows: &mut Rows, count: u32) -> Result<()> {
    let at = |address: std::net::Ipv4Addr| Address::from(address);
    let network = rows.ports.get(&ifindex(0, END_LOCAL_A)).context("the sending port has a row")?.network;
    let remote = LocationKey { address: at(END_REMOTE.v4()), network };
    let like = rows.locations.get_key_value(&remote);
    let (like_key, like) = like.map(|(key, row)| (*key, *row)).context("the remote port has a row")?;
    let slots = maps::EPOCHS.rows - SLOTS;
    for number in 0..count {
        let [_, b, c, d] = number.to_be_bytes();
        let key = LocationKey { address: at([REMOTE[0], b, c, d].into()), ..like_key };
        let slot = SLOTS + number % slots;
        rows.locations.insert(key, LocationRow { owner: LocationRow::owner_of(&key), slot, epoch: 0, ..like });
    }
    Ok(())
}

/// Rules of the sending port's egress set, as the plan compiles `protocol P, port N, to address A`; the last permits the rest already.
fn add_rules(rows: &mut Rows, count: u32) -> Result<()> {
    let port = rows.ports.get(&ifindex(0, END_LOCAL_A)).context("the sending port has a row")?;
    let set = port.egress_set;
    let classes: BTreeSet<u32> = rows.policy_cells.keys().map(|key| key.service.max(key.remote)).collect();
    let free = classes.last().map_or(1, |last| last + 1);
    let pairs = pair::bit(service_level::LEAF, remote_level::LEAF);
    for number in 1..count {
        let leaf = free + number;
        let [_, b, c, d] = number.to_be_bytes();
        let remote = PolicyPrefixKey { set, address: std::net::Ipv4Addr::from([REMOTE[0], b, c, d]).into() };
        let classes = PrefixClasses { top: 0, middle: 0, leaf, pairs };
        rows.policy_prefixes.insert(Prefixed { length: 32 + 128, data: remote }, classes);
        let protocol = if number >> 16 & 1 == 0 { 6_u16 } else { 132 };
        let service = ServiceKey { set, protocol: protocol.to_be(), port: (number as u16).to_be() };
        rows.policy_services.insert(Prefixed { length: 64, data: service }, ServiceClasses { inner: 0, leaf, pairs });
        let key = CellKey {
            set,
            remote: leaf,
            service: leaf,
            remote_level: remote_level::LEAF as u16,
            service_level: service_level::LEAF as u16,
        };
        let cell = CellRow { order: 1_000 + number, rule: 1_000 + number, action: 1, flags: 0, reserved: 0 };
        rows.policy_cells.insert(key, cell);
    }
    Ok(())
}

/// Bytes of all tables that this process has open.
pub(super) fn memory() -> Result<u64> {
    let mut tables = std::collections::BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fdinfo")?.flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        if let (Some(id), Some(bytes)) = (of("map_id:"), of("memlock:")) {
            tables.insert(id, bytes);
        }
    }
    Ok(tables.values().sum())
}
