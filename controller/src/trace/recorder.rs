//! Tables that remember what was looked up, in order. The walk that uses them is the one that the kernel runs.

use std::cell::RefCell;

use andromede_abi::{
    CellKey, CellRow, FlowKey, FlowRow, FragmentKey, FragmentRow, HostIndex, HostRow, IdentityClass, IdentityClassKey,
    LocationKey, LocationRow, MemberKey, MemberRow, NetworkIndex, NetworkRow, PolicyPrefixKey, PortRow, PrefixClasses,
    PrefixKey, RuleNumber, ServiceClasses, ServiceKey, Slot, SourceKey,
};
use andromede_pipeline::{FlowRef as _, Inline, NotPut, Put, Scratch, Tables, memory};

/// One lookup and what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    Port(u32, Option<PortRow>),
    Source(SourceKey, bool),
    Location(LocationKey, Option<LocationRow>),
    Prefix(PrefixKey, Option<LocationRow>),
    Host(HostIndex, Option<HostRow>),
    Member(MemberKey, Option<MemberRow>),
    Network(NetworkIndex, Option<NetworkRow>),
    Epoch(Slot, Option<u32>),
    IdentityClass(IdentityClassKey, Option<IdentityClass>),
    PrefixClasses(PolicyPrefixKey, Option<PrefixClasses>),
    ServiceClasses(ServiceKey, Option<ServiceClasses>),
    Cell(CellKey, Option<CellRow>),
    Flow(FlowKey, Option<FlowRow>),
}

/// The wrapper.
pub(super) struct Recorder<'a> {
    tables: &'a memory::Tables,
    lookups: RefCell<Vec<Lookup>>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(tables: &'a memory::Tables) -> Self {
        Self { tables, lookups: RefCell::new(Vec::new()) }
    }

    pub(super) fn into_lookups(self) -> Vec<Lookup> {
        self.lookups.into_inner()
    }

    fn note(&self, lookup: Lookup) {
        self.lookups.borrow_mut().push(lookup);
    }
}

/// A lookup that is passed on and noted.
macro_rules! noted {
    ($($method:ident($argument:ident: $key:ty) -> $found:ty, $variant:ident($noted:expr);)*) => {
        $(fn $method(&self, $argument: $key) -> $found {
            let found = self.tables.$method($argument);
            self.note(Lookup::$variant($noted, found));
            found
        })*
    };
}

impl Inline for Recorder<'_> {}

impl Tables for Recorder<'_> {
    type Flow = memory::Flow;
    type Usage = memory::Usage;

    noted! {
        port(ifindex: u32) -> Option<PortRow>, Port(ifindex);
        source_allowed(key: &SourceKey) -> bool, Source(*key);
        location(key: &LocationKey) -> Option<LocationRow>, Location(*key);
        prefix(key: &PrefixKey) -> Option<LocationRow>, Prefix(*key);
        host(host: HostIndex) -> Option<HostRow>, Host(host);
        member(key: &MemberKey) -> Option<MemberRow>, Member(*key);
        network(network: NetworkIndex) -> Option<NetworkRow>, Network(network);
        epoch(slot: Slot) -> Option<u32>, Epoch(slot);
        identity_class(key: &IdentityClassKey) -> Option<IdentityClass>, IdentityClass(*key);
        prefix_classes(key: &PolicyPrefixKey) -> Option<PrefixClasses>, PrefixClasses(*key);
        service_classes(key: &ServiceKey) -> Option<ServiceClasses>, ServiceClasses(*key);
        protocol_classes(key: &ServiceKey) -> Option<ServiceClasses>, ServiceClasses(*key);
        cell(key: &CellKey) -> Option<CellRow>, Cell(*key);
    }

    fn flow(&self, key: &FlowKey) -> Option<memory::Flow> {
        let found = self.tables.flow(key);
        let row = found.as_ref().and_then(|flow| {
            let mut row = Scratch::EMPTY.row;
            flow.copy_to(&mut row).then_some(row)
        });
        self.note(Lookup::Flow(*key, row));
        found
    }

    // A trace changes nothing.

    fn fragment(&self, key: &FragmentKey, owner: u64, into: &mut FragmentRow) -> bool {
        self.tables.fragment(key, owner, into)
    }

    fn put_fragment(&self, _: &FragmentKey, _: &FragmentRow) -> Result<(), NotPut> {
        Ok(())
    }

    fn put_flow(&self, _: &FlowKey, _: &FlowRow, _: Put) -> Result<(), NotPut> {
        Ok(())
    }

    fn remove_flow(&self, _: &FlowKey) -> bool {
        true
    }

    fn usage(&self, _: u32) -> Option<memory::Usage> {
        None
    }

    fn hit(&self, _: RuleNumber) {}
}
