//! Tables that count how often they are asked.

use std::cell::Cell;

use andromede_abi::{
    CellKey, CellRow, FlowKey, FlowRow, FragmentKey, FragmentRow, HostIndex, HostRow, IdentityClass, IdentityClassKey,
    LocationKey, LocationRow, MemberKey, MemberRow, NetworkIndex, NetworkRow, PolicyPrefixKey, PortRow, PrefixClasses,
    PrefixKey, RuleNumber, ServiceClasses, ServiceKey, Slot, SourceKey,
};
use andromede_pipeline::{Inline, NotPut, Put, Tables, memory};

/// The tables of a packet path in memory, and the number of lookups in them.
#[derive(Debug)]
pub struct Counted<'a> {
    of: &'a memory::Tables,
    lookups: Cell<u32>,
}

impl<'a> Counted<'a> {
    /// Nothing was looked up yet.
    pub const fn new(of: &'a memory::Tables) -> Self {
        Self { of, lookups: Cell::new(0) }
    }

    /// Lookups so far.
    pub const fn lookups(&self) -> u32 {
        self.lookups.get()
    }

    fn counted(&self) -> &'a memory::Tables {
        self.lookups.set(self.lookups.get() + 1);
        self.of
    }
}

impl Inline for Counted<'_> {}

impl Tables for Counted<'_> {
    type Flow = <memory::Tables as Tables>::Flow;
    type Usage = <memory::Tables as Tables>::Usage;

    fn port(&self, ifindex: u32) -> Option<PortRow> {
        self.counted().port(ifindex)
    }

    fn source_allowed(&self, key: &SourceKey) -> bool {
        self.counted().source_allowed(key)
    }

    fn location(&self, key: &LocationKey) -> Option<LocationRow> {
        self.counted().location(key)
    }

    fn has_location(&self, key: &LocationKey) -> bool {
        self.counted().has_location(key)
    }

    fn prefix(&self, key: &PrefixKey) -> Option<LocationRow> {
        self.counted().prefix(key)
    }

    fn host(&self, host: HostIndex) -> Option<HostRow> {
        self.counted().host(host)
    }

    fn member(&self, key: &MemberKey) -> Option<MemberRow> {
        self.counted().member(key)
    }

    fn network(&self, network: NetworkIndex) -> Option<NetworkRow> {
        self.counted().network(network)
    }

    fn epoch(&self, slot: Slot) -> Option<u32> {
        self.counted().epoch(slot)
    }

    fn identity_class(&self, key: &IdentityClassKey) -> Option<IdentityClass> {
        self.counted().identity_class(key)
    }

    fn prefix_classes(&self, key: &PolicyPrefixKey) -> Option<PrefixClasses> {
        self.counted().prefix_classes(key)
    }

    fn service_classes(&self, key: &ServiceKey) -> Option<ServiceClasses> {
        self.counted().service_classes(key)
    }

    fn protocol_classes(&self, key: &ServiceKey) -> Option<ServiceClasses> {
        self.counted().protocol_classes(key)
    }

    fn cell(&self, key: &CellKey) -> Option<CellRow> {
        self.counted().cell(key)
    }

    fn flow(&self, key: &FlowKey) -> Option<Self::Flow> {
        self.counted().flow(key)
    }

    fn fragment(&self, key: &FragmentKey, owner: u64, into: &mut FragmentRow) -> bool {
        self.counted().fragment(key, owner, into)
    }

    fn put_fragment(&self, key: &FragmentKey, row: &FragmentRow) -> Result<(), NotPut> {
        self.counted().put_fragment(key, row)
    }

    fn put_flow(&self, key: &FlowKey, row: &FlowRow, put: Put) -> Result<(), NotPut> {
        self.counted().put_flow(key, row, put)
    }

    fn remove_flow(&self, key: &FlowKey) -> bool {
        self.counted().remove_flow(key)
    }

    fn usage(&self, key: u32) -> Option<Self::Usage> {
        self.counted().usage(key)
    }

    fn hit(&self, rule: RuleNumber) {
        self.counted().hit(rule);
    }
}
