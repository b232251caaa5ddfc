//! The tables of the walk, as BPF maps.

use andromede_abi::{
    CellKey, CellRow, Counter, FlowKey, FlowRow, FragmentKey, FragmentRow, HostRow, IdentityClass, IdentityClassKey,
    LocationKey, LocationRow, MemberKey, MemberRow, NetworkRow, PolicyPrefixKey, PortRow, PrefixClasses, PrefixKey,
    Prefixed, ServiceClasses, ServiceKey, SourceKey, Usage, UsageRow,
};
use andromede_pipeline::{Account, FlowRef, NotPut, Phase, Put, Tables, UsageRef};
use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_NOEXIST},
    btf_maps::lpm_trie::Key,
};

use crate::{
    copy::{copy, copy_to, copy_words},
    kept,
    key::{StackKey, StackPrefix},
    maps,
};

/// The maps.
pub struct Maps;

/// Errors of a helper that puts a row: there is one already, and there is none (asm-generic/errno-base.h).
const EEXIST: i32 = -17;
const ENOENT: i32 = -2;
/// Prefix length of a whole key behind its leading u32 and an address.
const ADDRESS_BITS: u32 = 32 + 128;
/// Prefix length of a whole service key.
const SERVICE_BITS: u32 = 64;

/// The key as aya wants it: the same two fields, said to be packed.
#[inline(always)]
const fn prefix<K>(key: &Prefixed<K>) -> &Key<K> {
    // SAFETY: a length and the data behind it in both; `Prefixed` has no padding, as `abi` says.
    unsafe { &*core::ptr::from_ref(key).cast() }
}

/// A live row of the flow table, and the owner it was found for.
#[derive(Clone, Copy)]
pub struct Flow {
    row: *mut FlowRow,
    owner: u64,
}

impl FlowRef for Flow {
    #[inline(always)]
    fn copy_to(&self, into: &mut FlowRow) -> bool {
        // SAFETY: an element of the flow table.
        unsafe { copy_to(self.row, self.owner, into) }
    }

    #[inline(always)]
    fn set_seen(&self, now: u64) {
        if self.is_own() {
            // SAFETY: an aligned word of a live element.
            unsafe { (&raw mut (*self.row).seen).write_volatile(now) }
        }
    }

    #[inline(always)]
    fn replace_phase(&self, old: Phase, new: Phase) -> bool {
        // SAFETY: two words of a live element that stand behind each other, aligned to eight bytes; a counter is such a place.
        let both: &Counter = unsafe { &*(&raw const (*self.row).state).cast() };
        let word = |phase: Phase| phase.state as u64 | (phase.lifetime as u64) << 32;
        self.is_own() && both.replace(word(old), word(new))
    }

    #[inline(always)]
    fn set_cut_rule(&self, rule: u32) {
        if self.is_own() {
            // SAFETY: an aligned word of a live element.
            unsafe { (&raw mut (*self.row).cut_rule).write_volatile(rule) }
        }
    }

    #[inline(always)]
    fn is_over(&self, now: u64) -> bool {
        // SAFETY: aligned words of a live element.
        let (seen, lifetime) = unsafe {
            ((&raw const (*self.row).seen).read_volatile(), (&raw const (*self.row).lifetime).read_volatile())
        };
        now.saturating_sub(seen) > u64::from(lifetime) * 1_000_000_000
    }

    #[inline(always)]
    fn account(&self) -> Option<Account> {
        // SAFETY: aligned words of a live element. What it holds names the connection: whoever changes it compares that.
        let account = unsafe {
            Account {
                hold: (&raw const (*self.row).hold).read_volatile(),
                initiator: (&raw const (*self.row).initiator_budget).read_volatile(),
                answerer: (&raw const (*self.row).answerer_budget).read_volatile(),
                tenant: (&raw const (*self.row).tenant).read_volatile(),
                row: 1,
            }
        };
        self.is_own().then_some(account)
    }

    #[inline(always)]
    fn replace_hold(&self, old: u64, new: u64) -> bool {
        self.is_own() && self.hold().replace(old, new)
    }
}

impl Flow {
    /// The row of the connection with this owner word.
    #[inline(always)]
    pub const fn of(row: *mut FlowRow, owner: u64) -> Self {
        Self { row, owner }
    }

    /// The element's hold, as a word that others change too.
    #[inline(always)]
    const fn hold(&self) -> &Counter {
        // SAFETY: an aligned word of a live element; a counter is one.
        unsafe { &*(&raw const (*self.row).hold).cast() }
    }

    /// Is the element still this connection's? Asked right before each write: the kernel may have given it to another.
    #[inline(always)]
    fn is_own(&self) -> bool {
        // SAFETY: an aligned word of an element of the flow table.
        unsafe { (&raw const (*self.row).owner).read_volatile() == self.owner }
    }
}

/// A live row of usage.
#[derive(Clone, Copy)]
pub struct Row(*mut UsageRow);

impl Row {
    #[inline(always)]
    const fn word(&self, usage: Usage) -> &Counter {
        // SAFETY: one of the words of a live element; a counter is such a word.
        unsafe { &*self.0.cast::<Counter>().add(usage as usize) }
    }
}

impl UsageRef for Row {
    #[inline(always)]
    fn get(&self, usage: Usage) -> u64 {
        self.word(usage).get()
    }

    #[inline(always)]
    fn add(&self, usage: Usage, by: i64) -> u64 {
        self.word(usage).fetch_add(by.cast_unsigned())
    }

    #[inline(always)]
    fn replace(&self, usage: Usage, old: u64, new: u64) -> bool {
        self.word(usage).replace(old, new)
    }
}

/// What a new row of usage is made of.
static NO_USAGE: UsageRow = UsageRow::NONE;

/// Copies the port behind this interface from the table to `into`; false if there is none. It and the next two are functions of their own:
/// they are seldom needed, and what they leave on the stack would keep the ways with and without them apart for the verifier.
#[inline(never)]
pub fn read_port(ifindex: u32, into: &mut PortRow) -> bool {
    let Some(row) = maps::PORTS.get_ptr(&ifindex) else { return false };
    // SAFETY: an element of a map; the lower half of its owner word is the key.
    unsafe {
        let owner = (&raw const (*row).owner).read_volatile();
        owner as u32 == ifindex && copy_to(row, owner, into)
    }
}

/// Copies the member with this key from the table to `into`; false if there is none.
#[inline(never)]
pub fn read_member(key: &MemberKey, into: &mut MemberRow) -> bool {
    let Some(row) = maps::MEMBERS.get_ptr(StackKey::of(key).get()) else { return false };
    // SAFETY: an element of a map.
    unsafe { copy_to(row, MemberRow::owner_of(key), into) }
}

/// Copies the network with this index from the table to `into`; false if there is none.
#[inline(never)]
pub fn read_network(network: u32, into: &mut NetworkRow) -> bool {
    let Some(row) = maps::NETWORKS.get_ptr(&network) else { return false };
    // SAFETY: an element of a map.
    unsafe { copy_to(row, NetworkRow::owner_of(network), into) }
}

impl Tables for Maps {
    type Flow = Flow;
    type Usage = Row;

    #[inline(always)]
    fn port(&self, ifindex: u32) -> Option<PortRow> {
        kept::port(ifindex).copied()
    }

    #[inline(always)]
    fn with_port<R>(&self, ifindex: u32, look: impl FnOnce(&PortRow) -> R) -> Option<R> {
        kept::port(ifindex).map(look)
    }

    #[inline(always)]
    fn copy_port(&self, ifindex: u32, into: &mut PortRow) -> bool {
        kept::port(ifindex).is_some_and(|port| {
            copy_words(port, into);
            true
        })
    }

    #[inline(always)]
    fn source_allowed(&self, key: &SourceKey) -> bool {
        maps::SOURCES.get(prefix(StackPrefix::of(ADDRESS_BITS, key).get())).is_some()
    }

    #[inline(always)]
    fn location(&self, key: &LocationKey) -> Option<LocationRow> {
        copy(maps::LOCATIONS.get_ptr(StackKey::of(key).get())?, LocationRow::owner_of(key))
    }

    #[inline(always)]
    fn copy_location(&self, key: &LocationKey, into: &mut LocationRow) -> bool {
        let Some(row) = maps::LOCATIONS.get_ptr(StackKey::of(key).get()) else { return false };
        // SAFETY: an element of a map.
        unsafe { copy_to(row, LocationRow::owner_of(key), into) }
    }

    #[inline(always)]
    fn has_location(&self, key: &LocationKey) -> bool {
        maps::LOCATIONS.get_ptr(StackKey::of(key).get()).is_some()
    }

    #[inline(always)]
    fn prefix(&self, key: &PrefixKey) -> Option<LocationRow> {
        let row: *const LocationRow = maps::PREFIXES.get(prefix(StackPrefix::of(ADDRESS_BITS, key).get()))?;
        // SAFETY: an element of a map; only the network of the prefix's key is known.
        let owner = unsafe { (&raw const (*row).owner).read_volatile() };
        if (owner >> 32) as u32 != key.network {
            return None;
        }
        copy(row, owner)
    }

    #[inline(always)]
    fn copy_prefix(&self, key: &PrefixKey, into: &mut LocationRow) -> bool {
        let found = maps::PREFIXES.get(prefix(StackPrefix::of(ADDRESS_BITS, key).get()));
        let Some(row) = found.map(core::ptr::from_ref::<LocationRow>) else { return false };
        // SAFETY: an element of a map; only the network of the prefix's key is known.
        unsafe {
            let owner = (&raw const (*row).owner).read_volatile();
            (owner >> 32) as u32 == key.network && copy_to(row, owner, into)
        }
    }

    #[inline(always)]
    fn host(&self, host: u32) -> Option<HostRow> {
        copy(maps::HOSTS.get_ptr(&host)?, HostRow::owner_of(host))
    }

    #[inline(always)]
    fn copy_host(&self, host: u32, into: &mut HostRow) -> bool {
        let Some(row) = maps::HOSTS.get_ptr(&host) else { return false };
        // SAFETY: an element of a map.
        unsafe { copy_to(row, HostRow::owner_of(host), into) }
    }

    #[inline(always)]
    fn member(&self, key: &MemberKey) -> Option<MemberRow> {
        kept::member(key).copied()
    }

    #[inline(always)]
    fn network(&self, network: u32) -> Option<NetworkRow> {
        kept::network(network).copied()
    }

    #[inline(always)]
    fn with_network<R>(&self, network: u32, look: impl FnOnce(&NetworkRow) -> R) -> Option<R> {
        kept::network(network).map(look)
    }

    #[inline(always)]
    fn epoch(&self, slot: u32) -> Option<u32> {
        let word = maps::EPOCHS.get_ptr(slot)?;
        // SAFETY: an aligned word of an array.
        Some(unsafe { word.read_volatile() })
    }

    #[inline(always)]
    fn identity_class(&self, key: &IdentityClassKey) -> Option<IdentityClass> {
        // SAFETY: a map element; no row of a set changes while a port refers to the set. Rows of identities come before an
        // address has the identity, and go when none has it any more.
        unsafe { maps::POLICY_IDS.get(StackKey::of(key).get()).copied() }
    }

    #[inline(always)]
    fn prefix_classes(&self, key: &PolicyPrefixKey) -> Option<PrefixClasses> {
        maps::POLICY_PREFIXES.get(prefix(StackPrefix::of(ADDRESS_BITS, key).get())).copied()
    }

    #[inline(always)]
    fn service_classes(&self, key: &ServiceKey) -> Option<ServiceClasses> {
        maps::POLICY_SERVICES.get(prefix(StackPrefix::of(SERVICE_BITS, key).get())).copied()
    }

    #[inline(always)]
    fn protocol_classes(&self, key: &ServiceKey) -> Option<ServiceClasses> {
        maps::POLICY_SERVICES.get(prefix(StackPrefix::of(ServiceKey::PROTOCOL_BITS, key).get())).copied()
    }

    #[inline(always)]
    fn cell(&self, key: &CellKey) -> Option<CellRow> {
        // SAFETY: as in `identity_class`.
        unsafe { maps::POLICY_CELLS.get(StackKey::of(key).get()).copied() }
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<Flow> {
        maps::FLOWS.get_ptr_mut(key).map(|row| Flow { row, owner: key.owner() })
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey, owner: u64, into: &mut FragmentRow) -> bool {
        let Some(row) = maps::FRAGMENTS.get_ptr(key) else { return false };
        // SAFETY: an element of a map.
        unsafe { copy_to(row, owner, into) }
    }

    #[inline(always)]
    fn put_fragment(&self, key: &FragmentKey, row: &FragmentRow) -> Result<(), NotPut> {
        maps::FRAGMENTS.insert(key, row, 0).map_err(|_| NotPut::Full)
    }

    #[inline(always)]
    fn put_flow(&self, key: &FlowKey, row: &FlowRow, put: Put) -> Result<(), NotPut> {
        let flags = if put == Put::New { BPF_NOEXIST } else { BPF_EXIST };
        maps::FLOWS.insert(key, row, u64::from(flags)).map_err(|error| match error {
            EEXIST | ENOENT => NotPut::Otherwise,
            _ => NotPut::Full,
        })
    }

    #[inline(always)]
    fn remove_flow(&self, key: &FlowKey) -> bool {
        matches!(maps::FLOWS.remove(key), Ok(()) | Err(ENOENT))
    }

    #[inline(always)]
    fn usage(&self, key: u32) -> Option<Row> {
        if let Some(row) = maps::USAGE.get_ptr_mut(&key) {
            return Some(Row(row));
        }
        // Another processor may make it at this moment: then that one is found.
        let _ = maps::USAGE.insert(&key, &NO_USAGE, u64::from(BPF_NOEXIST));
        maps::USAGE.get_ptr_mut(&key).map(Row)
    }

    #[inline(always)]
    fn hit(&self, rule: u32) {
        if let Some(hits) = maps::RULE_HITS.get_ptr(&rule) {
            // SAFETY: an aligned word of a live element; a counter is one.
            let hits: &Counter = unsafe { &*hits.cast() };
            hits.add(1);
        }
    }
}
