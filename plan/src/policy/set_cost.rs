//! What one set of rules costs, kept up while members of groups come and go.

use std::{collections::BTreeSet, sync::Arc};

use andromede_abi::maps;
use andromede_model::{Direction, OperatorPolicy, SecurityGroupName, SharedMap};

use super::{
    Combinations, Policies, Ranked,
    cells::{self, Compiled},
    groups::Members,
    of_groups, of_operator,
};
use crate::{Cost, TooLarge};

/// What the rules of one set of groups, or of the operator, cost on a host that has it. It is measured by compiling them; afterwards identities are
/// added and removed without doing so again.
#[derive(Clone, Debug)]
pub struct SetCost {
    directions: [OneDirection; 2],
}

/// The identities that the same rules match.
#[derive(Clone, Copy, Debug)]
struct Alike {
    identities: usize,
    /// Cells that they share.
    cells: usize,
    /// What finding these took.
    combinations: usize,
}

/// The rules of one direction.
#[derive(Clone, Debug)]
struct OneDirection {
    members: Arc<Members>,
    /// Identities by those of their groups that rules name.
    alike: SharedMap<Vec<SecurityGroupName>, Alike>,
    /// Sum of [`Alike::combinations`].
    combinations: usize,
    cost: Cost,
}

impl OneDirection {
    fn of(rules: &[Ranked<'_>]) -> Result<Self, TooLarge> {
        let Compiled { rules, members } = cells::compile(rules)?;
        let mut cost = Cost::default();
        cost.add(&maps::POLICY_PREFIXES, rules.prefixes.len());
        cost.add(&maps::POLICY_SERVICES, rules.services.len());
        cost.add(&maps::POLICY_CELLS, rules.cells.len());
        Ok(Self { members, alike: SharedMap::default(), combinations: 0, cost })
    }

    fn add(&mut self, identity: &BTreeSet<SecurityGroupName>) -> Result<(), TooLarge> {
        let named = self.members.named(identity);
        if named.is_empty() {
            return Ok(());
        }
        let key = named.iter().copied().cloned().collect();
        let mut alike = if let Some(alike) = self.alike.get(&key) {
            *alike
        } else {
            let mut combinations = Combinations(self.combinations);
            let cells = self.members.cells(&named, &mut combinations)?.len();
            let spent = combinations.0 - self.combinations;
            self.combinations = combinations.0;
            self.cost.add(&maps::POLICY_CELLS, cells);
            Alike { identities: 0, cells, combinations: spent }
        };
        alike.identities += 1;
        self.cost.add(&maps::POLICY_IDENTITIES, usize::from(alike.cells > 0));
        self.alike.insert(key, alike);
        Ok(())
    }

    fn remove(&mut self, identity: &BTreeSet<SecurityGroupName>) {
        let key: Vec<SecurityGroupName> = self.members.named(identity).into_iter().cloned().collect();
        let Some(mut alike) = self.alike.get(&key).copied() else { return };
        self.cost.remove(&maps::POLICY_IDENTITIES, usize::from(alike.cells > 0));
        alike.identities -= 1;
        if alike.identities > 0 {
            self.alike.insert(key, alike);
            return;
        }
        self.alike.remove(&key);
        self.combinations -= alike.combinations;
        self.cost.remove(&maps::POLICY_CELLS, alike.cells);
    }
}

impl SetCost {
    /// Measures the rules of these groups together. `identities` are the sets of groups that ports of the network have.
    pub fn of<'a>(
        policies: &impl Policies,
        groups: &BTreeSet<SecurityGroupName>,
        identities: impl IntoIterator<Item = &'a BTreeSet<SecurityGroupName>>,
    ) -> Result<Self, TooLarge> {
        let of = |direction| OneDirection::of(&of_groups(policies, groups, direction));
        let mut set = Self { directions: [of(Direction::Egress)?, of(Direction::Ingress)?] };
        if set.names().next().is_some() {
            identities.into_iter().try_for_each(|identity| set.add(identity))?;
        }
        Ok(set)
    }

    /// Measures the rules of these policies of the operator together.
    pub fn of_operator(policies: &[&OperatorPolicy]) -> Result<Self, TooLarge> {
        let of = |direction| OneDirection::of(&of_operator(policies.iter().copied(), direction));
        Ok(Self { directions: [of(Direction::Egress)?, of(Direction::Ingress)?] })
    }

    /// A set of groups that a port has now, and none had before. After an error it is not to be used any more.
    pub fn add(&mut self, identity: &BTreeSet<SecurityGroupName>) -> Result<(), TooLarge> {
        self.directions.iter_mut().try_for_each(|direction| direction.add(identity))
    }

    /// A set of groups that no port has any more, and that was added before.
    pub fn remove(&mut self, identity: &BTreeSet<SecurityGroupName>) {
        self.directions.iter_mut().for_each(|direction| direction.remove(identity));
    }

    /// Rows of each table.
    pub fn cost(&self) -> Cost {
        let [egress, ingress] = &self.directions;
        egress.cost + ingress.cost
    }

    /// The groups that its rules name: whoever has one of them concerns this set.
    pub fn names(&self) -> impl Iterator<Item = &SecurityGroupName> {
        self.directions.iter().flat_map(|direction| direction.members.names())
    }
}
