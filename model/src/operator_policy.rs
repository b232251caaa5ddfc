//! What an operator demands of networks, above all rules of their tenants.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Labels, NetworkName, OperatorPolicyName, Rule};

/// Rules of the operator's tier: they are asked before the rules of security groups, at every port of the networks concerned.
/// An allow or a deny is final; [`crate::Action::Pass`], and what no rule matches, leaves the decision to the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorPolicy {
    /// Its name.
    pub name: OperatorPolicyName,
    /// The networks concerned; empty: all.
    pub networks: BTreeSet<NetworkName>,
    /// Its rules, at most [`crate::limits::RULES_PER_GROUP`]. Their remote is a prefix or any: groups and prefix lists belong to tenants.
    pub rules: Vec<Rule>,
    /// Revision of its last write; set by the model.
    pub revision: u64,
    /// Its labels.
    pub labels: Labels,
}

impl OperatorPolicy {
    /// Does it concern the network?
    pub fn concerns(&self, network: &NetworkName) -> bool {
        self.networks.is_empty() || self.networks.contains(network)
    }
}
