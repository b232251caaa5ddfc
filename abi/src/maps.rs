//! Names, layouts and sizes of the tables.
//!
//! A table is pinned as `<bpffs>/andromede/<instance>/<name>@<layout>`: a new layout is a new file, never a new meaning of an old one.

/// One table: its name in the object, the version of its layout, and how many rows it holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Name in the object file (at most 15 bytes, the kernel's limit).
    pub name: &'static str,
    /// Version of the row's layout.
    pub layout: u32,
    /// Most rows.
    pub rows: u32,
}

macro_rules! tables {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $layout:literal, $rows:expr;)*) => {
        $($(#[$doc])* pub const $id: Table = Table { name: $name, layout: $layout, rows: $rows };)*
        /// All tables that are pinned.
        pub const ALL: &[Table] = &[$($id),*];
    };
}

tables! {
    /// Hash: host-side interface -> `PortRow`.
    ///
    /// Layout 2: a row has infrastructure addresses.
    PORTS = "PORTS", 2, 8_192;
    /// Longest prefix: `SourceKey` -> u32.
    SOURCES = "SOURCES", 1, 65_536;
    /// Hash: `LocationKey` -> `LocationRow`. Allocated row by row.
    LOCATIONS = "LOCATIONS", 1, 1_048_576;
    /// Longest prefix: `PrefixKey` -> `LocationRow`.
    PREFIXES = "PREFIXES", 1, 65_536;
    /// Hash: `HostIndex` -> `HostRow`.
    HOSTS = "HOSTS", 1, 65_536;
    /// Hash: `MemberKey` -> `MemberRow`. Allocated row by row.
    MEMBERS = "MEMBERS", 1, 262_144;
    /// Array: `Slot` -> u32, the epoch of a port or location, or the change word of a network.
    EPOCHS = "EPOCHS", 1, 1_048_576;
    /// Hash: `IdentityClassKey` -> `IdentityClass`. Allocated row by row.
    POLICY_IDENTITIES = "POLICY_IDS", 2, 1_048_576;
    /// Longest prefix: `PolicyPrefixKey` -> `PrefixClasses`.
    POLICY_PREFIXES = "POLICY_PREFIXES", 2, 1_048_576;
    /// Longest prefix: `ServiceKey` -> `ServiceClasses`.
    POLICY_SERVICES = "POLICY_SERVICES", 2, 1_048_576;
    /// Hash: `CellKey` -> `CellRow`. Allocated row by row.
    POLICY_CELLS = "POLICY_CELLS", 2, 2_097_152;
    /// Hash: `NetworkIndex` -> `NetworkRow`. Allocated row by row.
    NETWORKS = "NETWORKS", 1, 16_384;
    /// Hash, not an LRU, preallocated: `FlowKey` -> `FlowRow`.
    ///
    /// Layout 2: a row says how long it lives (`lifetime`), which tenant it is of, and whose budgets it counts against; layout 1
    /// left that to whoever read it.
    FLOWS = "FLOWS", 2, 131_072;
    /// Hash: `FragmentKey` -> `FragmentRow`; a row for every place of every port. Allocated row by row.
    FRAGMENTS = "FRAGMENTS", 1, PORTS.rows.saturating_mul(2).saturating_mul(crate::FRAGMENT_PLACES as u32);
    /// Hash, preallocated: `Slot` of a port, or number of a tenant -> `UsageRow`.
    USAGE = "USAGE", 1, 32_768;
    /// Array of one `ReaperRow`. Userspace only reads it: a write from there would stop the kernel's timer.
    REAPER = "REAPER", 1, 1;
    /// Per-CPU hash: `DropCounterKey` -> u64.
    DROPS = "DROPS", 1, 16_384;
    /// Per-CPU array: drop reason -> u64; counts what `DROPS` had no room for too.
    DROP_TOTALS = "DROP_TOTALS", 1, 256;
    /// Ring buffer of `DropEvent`; `rows` is its size in bytes.
    EVENTS = "EVENTS", 1, 262_144;
    /// Per-CPU array of one `EventBudget`.
    EVENT_BUDGET = "EVENT_BUDGET", 1, 1;
    /// Hash: `RuleNumber` -> u64: connections that the rule let in or out, or packets that it refused. Allocated row by row; the agent
    /// makes the row of a rule before the rule is in force, and the packet path only counts on it.
    RULE_HITS = "RULE_HITS", 1, 262_144;
    /// Per-CPU array: `MeterIndex` -> `MeterRow`. The agent says which network has which row; the packet path only adds, and nobody sets
    /// back.
    METERS = "METERS", 1, 4_096;
    /// Ring buffer of `RuleEvent`; `rows` is its size in bytes.
    RULE_EVENTS = "RULE_EVENTS", 1, 1_048_576;
    /// Array of one u64: raised by each write to a table of configuration, after it. What a processor keeps of those tables it keeps under
    /// this number.
    GENERATION = "GENERATION", 1, 1;
}

/// The layout of `FLOWS` before the present one, which an upgrade reads: `FlowKey` -> `FlowRow1`.
pub const FLOWS_BEFORE: Table = Table { layout: 1, ..FLOWS };

/// Per-CPU array of one `VerdictRecord`, written only with `feature::RECORD`; not pinned.
pub const VERDICTS: &str = "VERDICTS";
/// Per-CPU array of one `pipeline::Scratch`: what is too large for a program's stack; not pinned.
pub const SCRATCH: &str = "SCRATCH";
/// Name of the read-only global that holds the `HostConfig`.
pub const HOST_CONFIG: &str = "HOST";

/// Names of the programs in the object.
pub mod program {
    /// See [`crate::hook::FROM_WORKLOAD`].
    pub const FROM_WORKLOAD: &str = "from_workload";
    /// See [`crate::hook::FROM_UNDERLAY`].
    pub const FROM_UNDERLAY: &str = "from_underlay";
    /// See [`crate::hook::FROM_OVERLAY`].
    pub const FROM_OVERLAY: &str = "from_overlay";
    /// See [`crate::hook::FROM_HOST`].
    pub const FROM_HOST: &str = "from_host";
    /// Removes connections that are over; run by the agent, attached nowhere.
    pub const REAP: &str = "reap";
    /// Those that are attached.
    pub const ALL: [&str; 4] = [FROM_WORKLOAD, FROM_UNDERLAY, FROM_OVERLAY, FROM_HOST];

    /// Runs and does nothing: the cost of running at all. This and the following are for measurements; no host loads them.
    pub const MEASURE_NOTHING: &str = "measure_nothing";
    /// Decides about a workload's frame, and does nothing.
    pub const MEASURE_WORKLOAD: &str = "measure_workload";
    /// Decides about a frame from the underlay, and does nothing.
    pub const MEASURE_UNDERLAY: &str = "measure_underlay";
    /// As [`MEASURE_WORKLOAD`], without what was decided a moment ago.
    pub const MEASURE_WORKLOAD_LOOKUP: &str = "measure_workload_lookup";
    /// As [`MEASURE_UNDERLAY`], without what was decided a moment ago.
    pub const MEASURE_UNDERLAY_LOOKUP: &str = "measure_underlay_lookup";
    /// Makes a UDP datagram one of another flow, and opens that.
    pub const MEASURE_OPENING: &str = "measure_opening";
    /// Inserts a flow row under another key each time.
    pub const MEASURE_INSERT: &str = "measure_insert";
    /// As [`MEASURE_WORKLOAD`], about a flow by chance.
    pub const MEASURE_RANDOM: &str = "measure_random";
    /// As [`MEASURE_OPENING`], towards a destination by chance.
    pub const MEASURE_OPENING_RANDOM: &str = "measure_opening_random";
    /// Encapsulates and decapsulates the frame.
    pub const MEASURE_TUNNEL: &str = "measure_tunnel";
}
