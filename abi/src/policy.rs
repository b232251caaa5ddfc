//! Compiled rules. What the rules of a set say never changes: new rules make a new set, and one write of the port's row flips to it.
//! Only who belongs to a group changes in place, row by row.
//!
//! To judge a flow against a set takes a constant number of lookups: protocol and port give the classes of the service
//! (`policy_services`), the identity of the remote a class (`policy_identities`), its address more (`policy_prefixes`). A pair of a
//! class of the service and a class of the remote has a cell (`policy_cells`): the first rule, in the order of the rules, of those
//! that stand in both classes. Of the cells read, the one with the lowest `order` decides.
//!
//! A class stands for rules of one *level*: those without a condition ([`service_level::ANY`], [`remote_level::ANY`]), those whose
//! prefix or range has another within it, those whose prefix or range has none. Rules that say little and rules that say much
//! so never multiply. Each row says which pairs of levels have a cell for its classes: usually one or two of the 15 are read.

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
    /// Leave the decision to the tenant's rules: only in sets of the operator's tier.
    Pass = 3,
}

/// Levels of classes of services.
pub mod service_level {
    /// Rules for any service: one class, number 0.
    pub const ANY: usize = 0;
    /// Whole protocols, and ranges with other ranges within them.
    pub const INNER: usize = 1;
    /// Ranges without others within them.
    pub const LEAF: usize = 2;
    /// Number of levels.
    pub const COUNT: usize = 3;
}

/// Levels of classes of remotes.
pub mod remote_level {
    /// Rules for any remote: one class, number 0.
    pub const ANY: usize = 0;
    /// Rules for a group.
    pub const IDENTITY: usize = 1;
    /// Prefixes with prefixes within them that have others within them.
    pub const TOP: usize = 2;
    /// Prefixes with prefixes within them that have none.
    pub const MIDDLE: usize = 3;
    /// Prefixes without others within them.
    pub const LEAF: usize = 4;
    /// Number of levels.
    pub const COUNT: usize = 5;
}

/// Pairs of levels, as bits.
pub mod pair {
    use super::{remote_level, service_level};

    /// Number of pairs.
    pub const COUNT: usize = service_level::COUNT * remote_level::COUNT;

    /// The bit of a pair.
    #[inline(always)]
    pub const fn bit(service_level: usize, remote_level: usize) -> u32 {
        1_u32.wrapping_shl(service_level.wrapping_mul(remote_level::COUNT).wrapping_add(remote_level) as u32)
    }

    /// The pairs with a level of remotes.
    pub const fn of_remote(remote_level: usize) -> u32 {
        bit(service_level::ANY, remote_level)
            | bit(service_level::INNER, remote_level)
            | bit(service_level::LEAF, remote_level)
    }

    /// The pairs with [`remote_level::ANY`]: what the row of a service says of them is all there is to know.
    pub const ANY_REMOTE: u32 = of_remote(remote_level::ANY);
}

/// Key of `policy_identities`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityClassKey {
    /// The compiled set.
    pub set: PolicySet,
    /// Identity of the remote port.
    pub identity: Identity,
}
row!(IdentityClassKey, 8, u32, u32);

/// Row of `policy_identities`: the class of an identity.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityClass {
    /// Class of level [`remote_level::IDENTITY`]: the lowest identity of those that the same rules match.
    pub class: u32,
    /// Pairs in which the class has a cell, see [`pair`].
    pub pairs: u32,
}
row!(IdentityClass, 8, u32, u32);

/// Key data of the longest-prefix table `policy_prefixes` (prefix length 32 + that of the address, IPv4 counted as /96
/// and more).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyPrefixKey {
    /// The compiled set.
    pub set: PolicySet,
    /// Address of the remote.
    pub address: Address,
}
row!(PolicyPrefixKey, 20, u32, Address);

/// Row of `policy_prefixes`: the classes of the addresses whose longest prefix this is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrefixClasses {
    /// Class of level [`remote_level::TOP`]; 0: none.
    pub top: u32,
    /// Class of level [`remote_level::MIDDLE`]; 0: none.
    pub middle: u32,
    /// Class of level [`remote_level::LEAF`]; 0: none.
    pub leaf: u32,
    /// Pairs in which one of the classes has a cell, see [`pair`].
    pub pairs: u32,
}
row!(PrefixClasses, 16, [u32; 4]);

/// Key data of the longest-prefix table `policy_services`.
/// Prefix length 32: any protocol, a row that every set has; 48: one protocol; 49 to 64: a range of its ports.
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

/// Row of `policy_services`: the classes of the services whose longest prefix this is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceClasses {
    /// Class of level [`service_level::INNER`]; 0: none.
    pub inner: u32,
    /// Class of level [`service_level::LEAF`]; 0: none.
    pub leaf: u32,
    /// Pairs in which one of the classes has a cell, see [`pair`]. Those with [`remote_level::IDENTITY`] are all set where rules for
    /// groups are: who belongs to them changes.
    pub pairs: u32,
}
row!(ServiceClasses, 12, [u32; 3]);

/// Key of `policy_cells`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellKey {
    /// The compiled set.
    pub set: PolicySet,
    /// Class of the remote, in its level.
    pub remote: u32,
    /// Class of the service, in its level.
    pub service: u32,
    /// See [`remote_level`].
    pub remote_level: u16,
    /// See [`service_level`].
    pub service_level: u16,
}
row!(CellKey, 16, u32, u32, u32, u16, u16);

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
    /// Rank of the rule in its set: priority, then deny before pass before allow, then its number. Lower decides. Never `u32::MAX`.
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
