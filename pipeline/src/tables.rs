//! What the walk looks into. The kernel implements it by BPF maps, userspace by ordinary collections.

use andromede_abi::{
    CellKey, CellRow, FlowKey, FlowRow, FragmentKey, FragmentRow, HostIndex, HostRow, IdentityClass, IdentityClassKey,
    LocationKey, LocationRow, MemberKey, MemberRow, NetworkIndex, NetworkRow, PolicyPrefixKey, PortRow, PrefixClasses,
    PrefixKey, RuleNumber, ServiceClasses, ServiceKey, Slot, SourceKey, Usage,
};

use crate::{budget::Account, verdict::Phase};

/// Whether a row is put where none is, or in the place of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Where none is.
    New,
    /// In the place of the one that is there.
    Replace,
}

/// Why a row was not put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPut {
    /// The table has no room for another row.
    Full,
    /// [`Put::New`], and there is one; or [`Put::Replace`], and there is none.
    Otherwise,
}

/// A live row of usage. Each change is one instruction.
pub trait UsageRef: Clone {
    /// Reads a word.
    fn get(&self, usage: Usage) -> u64;
    /// Adds to a word; what it was before.
    fn add(&self, usage: Usage, by: i64) -> u64;
    /// Writes `new` if the word is `old`; says whether it was.
    fn replace(&self, usage: Usage, old: u64, new: u64) -> bool;
}

/// A live row of the flow table.
pub trait FlowRef: Clone {
    /// Copies the row to `into`; false if the element was given to another connection meanwhile.
    fn copy_to(&self, into: &mut FlowRow) -> bool;
    /// Writes when it was last seen.
    fn set_seen(&self, now: u64);
    /// Writes its state and how long that lasts if both are as in `old`, in one instruction; says whether they were.
    fn replace_phase(&self, old: Phase, new: Phase) -> bool;
    /// Writes the rule that cut it.
    fn set_cut_rule(&self, rule: u32);
    /// Is it over for want of packets?
    fn is_over(&self, now: u64) -> bool;
    /// What it holds of its budgets; none if the element was given to another connection meanwhile.
    fn account(&self) -> Option<Account>;
    /// Writes what it holds if it is `old`, in one instruction; says whether it was.
    fn replace_hold(&self, old: u64, new: u64) -> bool;
}

/// The tables. Rows come as copies whose owner word was compared with the key's: a row that is not the key's own is none.
pub trait Tables {
    /// A live row of the flow table.
    type Flow: FlowRef;
    /// A live row of usage.
    type Usage: UsageRef;

    /// Port behind an interface.
    fn port(&self, ifindex: u32) -> Option<PortRow>;
    /// Looks at the port behind an interface, and asks for no other port meanwhile; none if there is none. The kernel does it without a
    /// copy.
    #[inline(always)]
    fn with_port<R>(&self, ifindex: u32, look: impl FnOnce(&PortRow) -> R) -> Option<R> {
        self.port(ifindex).as_ref().map(look)
    }
    /// Copies the port behind an interface to `into`; false if there is none. The kernel does it without its stack.
    #[inline(always)]
    fn copy_port(&self, ifindex: u32, into: &mut PortRow) -> bool {
        self.with_port(ifindex, |port| *into = *port).is_some()
    }
    /// May the port send from this further address?
    fn source_allowed(&self, key: &SourceKey) -> bool;
    /// Where exactly this address is.
    fn location(&self, key: &LocationKey) -> Option<LocationRow>;
    /// Copies where exactly this address is to `into`; false if there is no row. The kernel does it without its stack.
    #[inline(always)]
    fn copy_location(&self, key: &LocationKey, into: &mut LocationRow) -> bool {
        self.location(key).map(|row| *into = row).is_some()
    }
    /// Has this address a row of its own, even one that cannot be read right now?
    #[inline(always)]
    fn has_location(&self, key: &LocationKey) -> bool {
        self.location(key).is_some()
    }
    /// Where the longest prefix that covers the address is.
    fn prefix(&self, key: &PrefixKey) -> Option<LocationRow>;
    /// Copies where the longest prefix that covers the address is to `into`; false if there is none. The kernel does it without its
    /// stack.
    #[inline(always)]
    fn copy_prefix(&self, key: &PrefixKey, into: &mut LocationRow) -> bool {
        self.prefix(key).map(|row| *into = row).is_some()
    }
    /// How to reach a host.
    fn host(&self, host: HostIndex) -> Option<HostRow>;
    /// Copies how to reach a host to `into`; false if there is no row. The kernel does it without its stack.
    #[inline(always)]
    fn copy_host(&self, host: HostIndex, into: &mut HostRow) -> bool {
        self.host(host).map(|row| *into = row).is_some()
    }
    /// Is the sender a member of the network?
    fn member(&self, key: &MemberKey) -> Option<MemberRow>;
    /// What holds for the network.
    fn network(&self, network: NetworkIndex) -> Option<NetworkRow>;
    /// Looks at what holds for the network, and asks for no other network meanwhile; none if there is no row. The kernel does it without a
    /// copy.
    #[inline(always)]
    fn with_network<R>(&self, network: NetworkIndex, look: impl FnOnce(&NetworkRow) -> R) -> Option<R> {
        self.network(network).as_ref().map(look)
    }
    /// Present epoch of a slot.
    fn epoch(&self, slot: Slot) -> Option<u32>;
    /// Class of a remote identity in a set.
    fn identity_class(&self, key: &IdentityClassKey) -> Option<IdentityClass>;
    /// Classes of a remote address in a set.
    fn prefix_classes(&self, key: &PolicyPrefixKey) -> Option<PrefixClasses>;
    /// Classes of a service in a set.
    fn service_classes(&self, key: &ServiceKey) -> Option<ServiceClasses>;
    /// Classes in a set of a service's protocol, whatever the port.
    fn protocol_classes(&self, key: &ServiceKey) -> Option<ServiceClasses>;
    /// First rule that matches both classes.
    fn cell(&self, key: &CellKey) -> Option<CellRow>;
    /// A connection.
    fn flow(&self, key: &FlowKey) -> Option<Self::Flow>;

    /// Copies what a place holds to `into`, if it is the datagram with this owner word; false if it is not.
    fn fragment(&self, key: &FragmentKey, owner: u64, into: &mut FragmentRow) -> bool;

    /// Puts a datagram at a place.
    ///
    /// # Errors
    /// There is no memory.
    fn put_fragment(&self, key: &FragmentKey, row: &FragmentRow) -> Result<(), NotPut>;
    /// Puts the row of a connection, in one step.
    ///
    /// # Errors
    /// See [`NotPut`].
    fn put_flow(&self, key: &FlowKey, row: &FlowRow, put: Put) -> Result<(), NotPut>;
    /// Removes the row of a connection; says whether it is gone. Only who has locked it does that.
    fn remove_flow(&self, key: &FlowKey) -> bool;
    /// What is taken of a port (by its slot) or of a tenant (by its number and [`andromede_abi::TENANT_USAGE`]). The row is made if there is none; none if
    /// the table is full.
    fn usage(&self, key: u32) -> Option<Self::Usage>;
    /// Counts one more hit of a rule, if it is counted.
    fn hit(&self, rule: RuleNumber);
}
