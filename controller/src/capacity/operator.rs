//! What the operator's policies cost: networks that the same policies concern share their rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use andromede_model::{AnyName, Commit, Model, NetworkName, OperatorPolicy, OperatorPolicyName, ResourceKind};
use andromede_plan::{Cost, SetCost, TooLarge};

/// Policies that concern a network together.
pub(super) type Policies = Arc<BTreeSet<OperatorPolicyName>>;

/// Does the commit write or delete a policy?
pub(super) fn is_touched(commit: &Commit) -> bool {
    let is_policy = |name: &AnyName| matches!(name, AnyName::OperatorPolicy(_));
    let written = commit.written.iter().any(|resource| resource.kind() == ResourceKind::OperatorPolicy);
    written || commit.deleted.iter().any(is_policy)
}

/// The policies that concern a network and have rules.
pub(super) fn of_network(model: &Model, network: &NetworkName) -> Policies {
    let concerned = model.operator_policies().filter(|policy| policy.concerns(network) && !policy.rules.is_empty());
    Arc::new(concerned.map(|policy| policy.name.clone()).collect())
}

/// What each of these sets of policies costs.
pub(super) fn measure(
    model: &Model,
    sets: impl IntoIterator<Item = Policies>,
) -> Result<BTreeMap<Policies, Cost>, TooLarge> {
    let cost = |set: Policies| {
        let policies: Vec<&OperatorPolicy> = set.iter().filter_map(|name| model.operator_policy(name)).collect();
        Ok((set, SetCost::of_operator(&policies)?.cost()))
    };
    sets.into_iter().map(cost).collect()
}
