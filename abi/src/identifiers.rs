//! Numbers with a meaning. They are plain integers in the rows; the names say which is which.

/// Ethernet address, in transmission order.
pub type Mac = [u8; 6];

/// Index of a tenant's network in every table; the VNI is only its name on the wire. 0 is no network.
pub type NetworkIndex = u32;

/// Index of a host, as the controller numbers them. 0 is no host.
pub type HostIndex = u32;

/// What stands for a host where a node forwards to its pods what others sent, and back. No host has this number.
pub const FORWARDED: HostIndex = HostIndex::MAX;

/// The interned set of security groups of a port, per network. 0 is the empty set. Never taken from the wire.
pub type Identity = u32;

/// An immutable compiled set of rules of one direction. 0 is the set without rules.
pub type PolicySet = u32;

/// Number of a rule, unique in the fabric, stable across revisions. See [`rule`] for the reserved ones.
pub type RuleNumber = u32;

/// Index into the table `epochs`: one for each local port, remote location and network. 0 is never in use.
pub type Slot = u32;

/// Rule numbers that no tenant's rule has.
pub mod rule {
    use super::RuleNumber;

    /// No rule was involved.
    pub const NONE: RuleNumber = 0;
    /// The default of the ingress direction: closed.
    pub const DEFAULT_INGRESS: RuleNumber = 1;
    /// The default of the egress direction: open.
    pub const DEFAULT_EGRESS: RuleNumber = 2;
    /// What a node itself sends to its pods is asked no rule.
    pub const NODE: RuleNumber = 3;
    /// The first number that the controller gives to a rule.
    pub const FIRST: RuleNumber = 1024;
}
