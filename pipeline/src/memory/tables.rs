//! Tables in memory. Longest prefixes are found by trying every length: right, not fast.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use andromede_abi::{
    CellKey, CellRow, FlowKey, FlowRow, FragmentKey, FragmentRow, HostIndex, HostRow, IdentityClass, IdentityClassKey,
    LocationKey, LocationRow, MemberKey, MemberRow, NetworkIndex, NetworkRow, PolicyPrefixKey, PortRow, PrefixClasses,
    PrefixKey, Prefixed, RuleNumber, ServiceClasses, ServiceKey, Slot, SourceKey, UsageRow, bytes_of,
};

use crate::{
    budget::Account,
    tables::{FlowRef, NotPut, Put, UsageRef},
    verdict::Phase,
};

/// All tables. Rows are put in by writing to the fields.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Host-side interface to port.
    pub ports: BTreeMap<u32, PortRow>,
    /// Further source addresses.
    pub sources: BTreeMap<Prefixed<SourceKey>, u32>,
    /// Addresses.
    pub locations: BTreeMap<LocationKey, LocationRow>,
    /// Prefixes.
    pub prefixes: BTreeMap<Prefixed<PrefixKey>, LocationRow>,
    /// Hosts.
    pub hosts: BTreeMap<HostIndex, HostRow>,
    /// Senders.
    pub members: BTreeMap<MemberKey, MemberRow>,
    /// Networks.
    pub networks: BTreeMap<NetworkIndex, NetworkRow>,
    /// Epochs.
    pub epochs: BTreeMap<Slot, u32>,
    /// Classes of identities.
    pub policy_identities: BTreeMap<IdentityClassKey, IdentityClass>,
    /// Classes of prefixes.
    pub policy_prefixes: BTreeMap<Prefixed<PolicyPrefixKey>, PrefixClasses>,
    /// Classes of services.
    pub policy_services: BTreeMap<Prefixed<ServiceKey>, ServiceClasses>,
    /// Cells.
    pub policy_cells: BTreeMap<CellKey, CellRow>,
    /// Connections.
    pub flows: RefCell<BTreeMap<FlowKey, Rc<Cell<FlowRow>>>>,
    /// Datagrams in pieces.
    pub fragments: RefCell<BTreeMap<FragmentKey, FragmentRow>>,
    /// How many connections there is room for; 0: as many as come.
    pub flows_max: usize,
    /// What is taken of budgets.
    pub usage: RefCell<BTreeMap<u32, Rc<Cell<UsageRow>>>>,
    /// Hits of the rules that are counted.
    pub rule_hits: RefCell<BTreeMap<RuleNumber, u64>>,
}

/// A live row of usage.
#[derive(Clone, Debug)]
pub struct Usage(Rc<Cell<UsageRow>>);

impl Usage {
    fn change(&self, usage: andromede_abi::Usage, change: impl FnOnce(u64) -> u64) {
        let mut row = self.0.get();
        if let Some(word) = row.words.get_mut(usage as usize) {
            *word = change(*word);
        }
        self.0.set(row);
    }
}

impl UsageRef for Usage {
    fn get(&self, usage: andromede_abi::Usage) -> u64 {
        self.0.get().get(usage)
    }

    fn add(&self, usage: andromede_abi::Usage, by: i64) -> u64 {
        let before = self.get(usage);
        self.change(usage, |word| word.wrapping_add_signed(by));
        before
    }

    fn replace(&self, usage: andromede_abi::Usage, old: u64, new: u64) -> bool {
        let is_old = self.get(usage) == old;
        if is_old {
            self.change(usage, |_| new);
        }
        is_old
    }
}

/// A live row of the flow table.
#[derive(Clone, Debug)]
pub struct Flow(Rc<Cell<FlowRow>>);

impl Flow {
    fn change(&self, change: impl FnOnce(&mut FlowRow)) {
        let mut row = self.0.get();
        change(&mut row);
        self.0.set(row);
    }
}

impl FlowRef for Flow {
    fn copy_to(&self, into: &mut FlowRow) -> bool {
        *into = self.0.get();
        true
    }

    fn set_seen(&self, now: u64) {
        self.change(|row| row.seen = now);
    }

    fn replace_phase(&self, old: Phase, new: Phase) -> bool {
        let row = self.0.get();
        let is_old = (row.state, row.lifetime) == (old.state, old.lifetime);
        if is_old {
            self.change(|row| (row.state, row.lifetime) = (new.state, new.lifetime));
        }
        is_old
    }

    fn set_cut_rule(&self, rule: u32) {
        self.change(|row| row.cut_rule = rule);
    }

    fn is_over(&self, now: u64) -> bool {
        self.0.get().is_over(now)
    }

    fn account(&self) -> Option<Account> {
        Some(Account::of(&self.0.get()))
    }

    fn replace_hold(&self, old: u64, new: u64) -> bool {
        let is_old = self.0.get().hold == old;
        if is_old {
            self.change(|row| row.hold = new);
        }
        is_old
    }
}

/// The value of the longest prefix that covers all bits of `key`.
fn longest<K, V>(table: &BTreeMap<Prefixed<K>, V>, key: K) -> Option<V>
where
    K: andromede_abi::Pod + Ord,
    V: Copy,
{
    let covers = |prefix: &Prefixed<K>| leading_equal_bits(bytes_of(&prefix.data), bytes_of(&key)) >= prefix.length;
    table.iter().filter(|(prefix, _)| covers(prefix)).max_by_key(|(prefix, _)| prefix.length).map(|(_, value)| *value)
}

fn leading_equal_bits(one: &[u8], other: &[u8]) -> u32 {
    let mut equal = 0_u32;
    for (a, b) in one.iter().zip(other) {
        let same = (a ^ b).leading_zeros();
        equal = equal.saturating_add(same);
        if same < 8 {
            break;
        }
    }
    equal
}

impl crate::inline::Inline for Tables {}

impl crate::tables::Tables for Tables {
    type Flow = Flow;
    type Usage = Usage;

    fn port(&self, ifindex: u32) -> Option<PortRow> {
        self.ports.get(&ifindex).filter(|row| row.owner == PortRow::owner_of(ifindex, row.network)).copied()
    }

    fn source_allowed(&self, key: &SourceKey) -> bool {
        longest(&self.sources, *key).is_some()
    }

    fn location(&self, key: &LocationKey) -> Option<LocationRow> {
        self.locations.get(key).filter(|row| row.owner == LocationRow::owner_of(key)).copied()
    }

    fn prefix(&self, key: &PrefixKey) -> Option<LocationRow> {
        longest(&self.prefixes, *key).filter(|row| row.owner >> 32 == u64::from(key.network))
    }

    fn host(&self, host: HostIndex) -> Option<HostRow> {
        self.hosts.get(&host).filter(|row| row.owner == HostRow::owner_of(host)).copied()
    }

    fn member(&self, key: &MemberKey) -> Option<MemberRow> {
        self.members.get(key).filter(|row| row.owner == MemberRow::owner_of(key)).copied()
    }

    fn network(&self, network: NetworkIndex) -> Option<NetworkRow> {
        self.networks.get(&network).filter(|row| row.owner == NetworkRow::owner_of(network)).copied()
    }

    fn epoch(&self, slot: Slot) -> Option<u32> {
        // An array has a row for every index: one that nobody wrote is 0.
        (slot < andromede_abi::maps::EPOCHS.rows).then(|| self.epochs.get(&slot).copied().unwrap_or(0))
    }

    fn identity_class(&self, key: &IdentityClassKey) -> Option<IdentityClass> {
        self.policy_identities.get(key).copied()
    }

    fn prefix_classes(&self, key: &PolicyPrefixKey) -> Option<PrefixClasses> {
        longest(&self.policy_prefixes, *key)
    }

    fn service_classes(&self, key: &ServiceKey) -> Option<ServiceClasses> {
        longest(&self.policy_services, *key)
    }

    fn protocol_classes(&self, key: &ServiceKey) -> Option<ServiceClasses> {
        let covers = |prefix: &&Prefixed<ServiceKey>| {
            let equal = leading_equal_bits(bytes_of(&prefix.data), bytes_of(key));
            prefix.length <= ServiceKey::PROTOCOL_BITS && equal >= prefix.length
        };
        let nodes = self.policy_services.keys().filter(covers);
        nodes.max_by_key(|prefix| prefix.length).and_then(|prefix| self.policy_services.get(prefix)).copied()
    }

    fn cell(&self, key: &CellKey) -> Option<CellRow> {
        self.policy_cells.get(key).copied()
    }

    fn flow(&self, key: &FlowKey) -> Option<Flow> {
        let row = self.flows.borrow().get(key).cloned()?;
        (row.get().owner == key.owner()).then_some(Flow(row))
    }

    fn fragment(&self, key: &FragmentKey, owner: u64, into: &mut FragmentRow) -> bool {
        match self.fragments.borrow().get(key) {
            Some(row) if row.owner == owner => {
                *into = *row;
                true
            }
            _ => false,
        }
    }

    fn put_fragment(&self, key: &FragmentKey, row: &FragmentRow) -> Result<(), NotPut> {
        self.fragments.borrow_mut().insert(*key, *row);
        Ok(())
    }

    fn put_flow(&self, key: &FlowKey, row: &FlowRow, put: Put) -> Result<(), NotPut> {
        let mut flows = self.flows.borrow_mut();
        let is_there = flows.contains_key(key);
        if is_there != (put == Put::Replace) {
            return Err(NotPut::Otherwise);
        }
        if self.flows_max != 0 && flows.len() >= self.flows_max && !is_there {
            return Err(NotPut::Full);
        }
        flows.insert(*key, Rc::new(Cell::new(*row)));
        Ok(())
    }

    fn remove_flow(&self, key: &FlowKey) -> bool {
        self.flows.borrow_mut().remove(key);
        true
    }

    fn usage(&self, key: u32) -> Option<Usage> {
        let mut usage = self.usage.borrow_mut();
        Some(Usage(Rc::clone(usage.entry(key).or_insert_with(|| Rc::new(Cell::new(UsageRow::NONE))))))
    }

    fn hit(&self, rule: RuleNumber) {
        if let Some(hits) = self.rule_hits.borrow_mut().get_mut(&rule) {
            *hits = hits.wrapping_add(1);
        }
    }
}
