//! The tables. Names, layouts and sizes are those of `andromede_abi::maps`.

use andromede_abi::{
    CellKey, CellRow, DropCounterKey, EventBudget, FlowKey, FlowRow, FragmentKey, FragmentRow, HostRow, IdentityClass,
    IdentityClassKey, LocationKey, LocationRow, MemberKey, MemberRow, MeterRow, NetworkRow, PolicyPrefixKey, PortRow,
    PrefixClasses, PrefixKey, RuleEvent, ServiceClasses, ServiceKey, SourceKey, UsageRow, VerdictRecord, maps,
};
use andromede_pipeline::Scratch;
use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, bpf_timer},
    btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, PerCpuHashMap, RingBuf},
    macros::btf_map,
};

use crate::{
    kept::{KEPT, KeptJudgement, KeptMember, KeptNetwork, KeptPort},
    microflow::{self, KeptMicroflow, Next},
};

const SPARSE: usize = BPF_F_NO_PREALLOC as usize;

macro_rules! rows {
    ($table:ident) => {{ maps::$table.rows as usize }};
}

/// `ReaperRow`, as the kernel must see it: it knows the timer by the name of its type.
#[repr(C)]
pub struct Reaper {
    pub heartbeat: u64,
    pub ran: u64,
    pub took: u64,
    pub reaped: u64,
    pub round: u64,
    pub reserved: u64,
    pub timer: bpf_timer,
}

/// What a processor has to itself: the scratch space of a walk, the clock as it last read it, and where to keep what is decided.
#[repr(C)]
pub struct Desk {
    pub scratch: Scratch,
    pub clock: Clock,
    pub next: Next,
}

/// The coarse clock, and in which tick of the kernel it was read.
#[repr(C)]
pub struct Clock {
    pub tick: u64,
    pub now: u64,
}

const _: () = assert!(size_of::<Reaper>() == size_of::<andromede_abi::ReaperRow>());

#[btf_map]
pub static PORTS: HashMap<u32, PortRow, { rows!(PORTS) }> = HashMap::new();
#[btf_map]
pub static SOURCES: LpmTrie<SourceKey, u32, { rows!(SOURCES) }> = LpmTrie::new();
#[btf_map]
pub static LOCATIONS: HashMap<LocationKey, LocationRow, { rows!(LOCATIONS) }, SPARSE> = HashMap::new();
#[btf_map]
pub static PREFIXES: LpmTrie<PrefixKey, LocationRow, { rows!(PREFIXES) }> = LpmTrie::new();
#[btf_map]
pub static HOSTS: HashMap<u32, HostRow, { rows!(HOSTS) }, SPARSE> = HashMap::new();
#[btf_map]
pub static MEMBERS: HashMap<MemberKey, MemberRow, { rows!(MEMBERS) }, SPARSE> = HashMap::new();
#[btf_map]
pub static EPOCHS: Array<u32, { rows!(EPOCHS) }, { aya_ebpf::bindings::BPF_F_MMAPABLE as usize }> = Array::new();
#[btf_map]
pub static POLICY_IDS: HashMap<IdentityClassKey, IdentityClass, { rows!(POLICY_IDENTITIES) }, SPARSE> = HashMap::new();
#[btf_map]
pub static POLICY_PREFIXES: LpmTrie<PolicyPrefixKey, PrefixClasses, { rows!(POLICY_PREFIXES) }> = LpmTrie::new();
#[btf_map]
pub static POLICY_SERVICES: LpmTrie<ServiceKey, ServiceClasses, { rows!(POLICY_SERVICES) }> = LpmTrie::new();
#[btf_map]
pub static POLICY_CELLS: HashMap<CellKey, CellRow, { rows!(POLICY_CELLS) }, SPARSE> = HashMap::new();
#[btf_map]
pub static NETWORKS: HashMap<u32, NetworkRow, { rows!(NETWORKS) }, SPARSE> = HashMap::new();
#[btf_map]
pub static FLOWS: HashMap<FlowKey, FlowRow, { rows!(FLOWS) }> = HashMap::new();
#[btf_map]
pub static USAGE: HashMap<u32, UsageRow, { rows!(USAGE) }> = HashMap::new();
#[btf_map]
pub static REAPER: Array<Reaper, { rows!(REAPER) }> = Array::new();
#[btf_map]
pub static FRAGMENTS: HashMap<FragmentKey, FragmentRow, { rows!(FRAGMENTS) }, SPARSE> = HashMap::new();
#[btf_map]
pub static DROPS: PerCpuHashMap<DropCounterKey, u64, { rows!(DROPS) }> = PerCpuHashMap::new();
#[btf_map]
pub static DROP_TOTALS: PerCpuArray<u64, { rows!(DROP_TOTALS) }> = PerCpuArray::new();
#[btf_map]
pub static EVENTS: RingBuf<andromede_abi::DropEvent, { rows!(EVENTS) }> = RingBuf::new();
#[btf_map]
pub static EVENT_BUDGET: PerCpuArray<EventBudget, { rows!(EVENT_BUDGET) }> = PerCpuArray::new();
#[btf_map]
pub static RULE_HITS: HashMap<u32, u64, { rows!(RULE_HITS) }, SPARSE> = HashMap::new();
#[btf_map]
pub static METERS: PerCpuArray<MeterRow, { rows!(METERS) }> = PerCpuArray::new();
#[btf_map]
pub static RULE_EVENTS: RingBuf<RuleEvent, { rows!(RULE_EVENTS) }> = RingBuf::new();
#[btf_map]
pub static GENERATION: Array<u64, { rows!(GENERATION) }, { aya_ebpf::bindings::BPF_F_MMAPABLE as usize }> =
    Array::new();
#[btf_map]
pub static KEPT_PORTS: PerCpuArray<KeptPort, KEPT> = PerCpuArray::new();
#[btf_map]
pub static KEPT_MEMBERS: PerCpuArray<KeptMember, KEPT> = PerCpuArray::new();
#[btf_map]
pub static KEPT_NETWORKS: PerCpuArray<KeptNetwork, KEPT> = PerCpuArray::new();
#[btf_map]
pub static KEPT_JUDGEMENTS: PerCpuArray<KeptJudgement, KEPT> = PerCpuArray::new();
#[btf_map]
pub static MICROFLOWS: PerCpuArray<KeptMicroflow, { microflow::MICROFLOWS }> = PerCpuArray::new();
#[btf_map]
pub static VERDICTS: PerCpuArray<VerdictRecord, 1> = PerCpuArray::new();
#[btf_map]
pub static SCRATCH: PerCpuArray<Desk, 1> = PerCpuArray::new();
