//! Compiled rules. A set is immutable: a change makes a new set, and one write of the port's row flips to it.
//!
//! To judge a flow against a set takes a constant number of lookups: the remote's identity gives one class
//! (`policy_identities`), its address another (`policy_prefixes`), protocol and port a service class
//! (`policy_services`); at most three cells (`policy_cells`) are then read, one for each remote class and one for
//! [`remote_class::ANY`], and the one with the lowest `order` decides. A cell holds the first rule, in the tenant's order, of all
//! rules that match both classes.

use crate::{
    Address,
    identifiers::{Identity, PolicySet, RuleNumber},
    pod::row,
};

/// What a rule does.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Let it pass.
    Allow = 1,
    /// Drop it.
    Deny = 2,
}

/// Reserved numbers of remote classes.
pub mod remote_class {
    /// Any remote at all.
    pub const ANY: u32 = 0;
    /// The first class that the compiler gives out. Classes of identities and of prefixes never share a number in one set.
    pub const FIRST: u32 = 1;
}

/// Key of `policy_identities`; the value is the remote class, a u32.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityClassKey {
    /// The compiled set.
    pub set: PolicySet,
    /// Identity of the remote port.
    pub identity: Identity,
}
row!(IdentityClassKey, 8, u32, u32);

/// Key data of the longest-prefix table `policy_prefixes` (prefix length 32 + that of the address, IPv4 counted as /96
/// and more); the value is the remote class, a u32.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyPrefixKey {
    /// The compiled set.
    pub set: PolicySet,
    /// Address of the remote.
    pub address: Address,
}
row!(PolicyPrefixKey, 20, u32, Address);

/// Key data of the longest-prefix table `policy_services`; the value is the service class, a u32.
/// Prefix length 32: any protocol; 48: one protocol; 49 to 64: a range of its ports.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The compiled set.
    pub set: PolicySet,
    /// IP protocol number, network byte order.
    pub protocol: u16,
    /// Destination port, network byte order; for ICMP and `ICMPv6` the type in the upper byte and the code in the lower.
    pub port: u16,
}
row!(ServiceKey, 8, u32, u16, u16);

impl ServiceKey {
    /// Prefix length of a protocol with all of its ports.
    pub const PROTOCOL_BITS: u32 = 48;
}

/// Key of `policy_cells`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellKey {
    /// The compiled set.
    pub set: PolicySet,
    /// Class of the remote, or [`remote_class::ANY`].
    pub remote: u32,
    /// Class of the service.
    pub service: u32,
}
row!(CellKey, 12, u32, u32, u32);

/// Bits of [`CellRow::flags`].
pub mod cell_flag {
    /// Report connections that the rule opens or refuses.
    pub const LOG: u8 = 1 << 0;
    /// The rule says `existing: keep`. On an allow: a connection that it let in survives the rule's removal, as long as no deny
    /// without this bit refuses it. On a deny: live connections are spared. Without this bit a deny cuts live connections.
    pub const KEEP: u8 = 1 << 1;
    /// The rule is of the operator's tier: it stands before all rules of tenants.
    pub const OPERATOR: u8 = 1 << 2;
}

/// Row of `policy_cells`: the first rule that matches both classes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellRow {
    /// Rank of the rule in its set: tier, then priority, then deny before allow, then its number. Lower decides. Never `u32::MAX`.
    pub order: u32,
    /// The rule.
    pub rule: RuleNumber,
    /// [`Action`] as its number.
    pub action: u8,
    /// See [`cell_flag`].
    pub flags: u8,
    /// Zero.
    pub reserved: u16,
}
row!(CellRow, 12, u32, u32, u8, u8, u16);
