//! Security groups and their rules.

use serde::{Deserialize, Serialize};

use crate::{Labels, PortRange, Prefix, PrefixListName, Protocol, RuleName, SecurityGroupName};

/// Which way a rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// What the port receives.
    Ingress,
    /// What the port sends.
    Egress,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Let it pass.
    Allow,
    /// Drop it.
    Deny,
    /// Leave the decision to the tenant: only in the operator's tier.
    Pass,
}

/// What a rule means for connections that are there when it comes or goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// A deny cuts them; what an allow let in ends with it.
    #[default]
    Cut,
    /// A deny spares them; what an allow let in survives it, unless a deny that cuts refuses it.
    Keep,
}

/// The other side that a rule looks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remote {
    /// Any.
    Any,
    /// An address in the prefix.
    Cidr(Prefix),
    /// An address in a prefix of the list.
    PrefixList(PrefixListName),
    /// A port that has the group.
    Group(SecurityGroupName),
}

/// A permission or a refusal. Connections are tracked: answers need no rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name, unique in the group.
    pub name: RuleName,
    /// Which way it looks.
    pub direction: Direction,
    /// What it does.
    pub action: Action,
    /// 1 to 65535, lower first. At equal priority deny stands before allow.
    pub priority: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// Destination ports, only for protocols that have them; empty: all.
    pub ports: Vec<PortRange>,
    /// Type of `icmp` and `icmpv6`; none: all.
    pub icmp_type: Option<u8>,
    /// Code, only with a type; none: all.
    pub icmp_code: Option<u8>,
    /// The other side.
    pub remote: Remote,
    /// Report each connection that it opens or refuses.
    pub log: bool,
    /// What it means for connections that are there already.
    pub existing: Existing,
    /// Its number in traces, events and counters; given by the model, stable while the rule exists.
    pub number: u32,
}

impl Rule {
    /// The priority if none is given.
    pub const DEFAULT_PRIORITY: u16 = 1_000;
}

/// A set of rules that ports refer to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Its name.
    pub name: SecurityGroupName,
    /// Its rules, at most [`crate::limits::RULES_PER_GROUP`].
    pub rules: Vec<Rule>,
    /// Revision of its last write; set by the model.
    pub revision: u64,
    /// Its labels.
    pub labels: Labels,
}
