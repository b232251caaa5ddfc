//! Who belongs to the groups that rules name: the part of a set that changes while its rules stay.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use andromede_abi::{CellRow, IdentityClass, pair, remote_level};
use andromede_model::SecurityGroupName;

use super::{ANY_REMOTE, ANY_SERVICE, Class, Combinations, Ranks};
use crate::TooLarge;

/// A rule whose remote is a group.
#[derive(Clone, Debug)]
pub(super) struct GroupRule {
    /// What its cells say.
    pub(super) row: CellRow,
    /// The classes of its services.
    pub(super) services: Vec<Class>,
}

/// The first rule for each service, of the rules that match an identity.
pub(crate) type ClassCells = BTreeMap<Class, CellRow>;

/// The rules of a set that name groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    /// In the order in which they decide.
    rules: Vec<GroupRule>,
    of_group: BTreeMap<SecurityGroupName, Ranks>,
    /// The order of the first rule for any remote, by service.
    any: BTreeMap<Class, u32>,
}

impl Members {
    /// Adds the next rule.
    pub(super) fn add(&mut self, group: &SecurityGroupName, rule: GroupRule) {
        self.of_group.entry(group.clone()).or_default().push(self.rules.len() as u32);
        self.rules.push(rule);
    }

    /// Notes the rules for any remote: behind them no other is asked.
    pub(super) fn set_any(&mut self, cells: &BTreeMap<(Class, Class), CellRow>) {
        let any = cells.iter().filter(|((_, remote), _)| *remote == ANY_REMOTE);
        self.any = any.map(|((service, _), row)| (*service, row.order)).collect();
    }

    /// The groups that rules name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &SecurityGroupName> {
        self.of_group.keys()
    }

    /// Those of these groups that rules name, in order. The same rules match whoever has the same of them.
    pub(crate) fn named<'g>(&self, groups: &'g BTreeSet<SecurityGroupName>) -> Vec<&'g SecurityGroupName> {
        groups.iter().filter(|group| self.of_group.contains_key(group)).collect()
    }

    /// What the identities are to the rules.
    pub(crate) fn of(&self, identities: &BTreeMap<u32, BTreeSet<SecurityGroupName>>) -> Result<Groups, TooLarge> {
        let mut known: BTreeMap<Vec<&SecurityGroupName>, Arc<ClassCells>> = BTreeMap::new();
        let mut found = Groups::default();
        let mut combinations = Combinations(0);
        for (identity, groups) in identities.iter().filter(|_| !self.rules.is_empty()) {
            let named = self.named(groups);
            if named.is_empty() {
                continue;
            }
            let cells = if let Some(cells) = known.get(&named) {
                Arc::clone(cells)
            } else {
                let cells = Arc::new(self.cells(&named, &mut combinations)?);
                known.insert(named, Arc::clone(&cells));
                cells
            };
            if !cells.is_empty() {
                found.of.insert(*identity, cells);
            }
        }
        Ok(found)
    }

    /// The first rule for each service, of the rules that name one of these groups.
    pub(crate) fn cells(
        &self,
        named: &[&SecurityGroupName],
        combinations: &mut Combinations,
    ) -> Result<ClassCells, TooLarge> {
        let mut ranks: Ranks = named.iter().filter_map(|group| self.of_group.get(*group)).flatten().copied().collect();
        ranks.sort_unstable();
        let mut cells = ClassCells::new();
        for rule in ranks.iter().filter_map(|rank| self.rules.get(*rank as usize)) {
            combinations.spend(rule.services.len())?;
            let earlier = |service: &Class| self.any.get(service).is_some_and(|order| *order < rule.row.order);
            if earlier(&ANY_SERVICE) || cells.contains_key(&ANY_SERVICE) {
                continue;
            }
            for service in rule.services.iter().filter(|service| !earlier(service)) {
                cells.entry(*service).or_insert(rule.row);
            }
        }
        Ok(cells)
    }
}

/// The identities that rules of a set name, each with what they say of it. Identities that the same rules match share them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) of: BTreeMap<u32, Arc<ClassCells>>,
}

impl Groups {
    /// The row of an identity whose class has these cells.
    pub(crate) fn row(class: u32, cells: &ClassCells) -> IdentityClass {
        let pairs = cells.keys().map(|service| pair::bit(service.0, remote_level::IDENTITY));
        IdentityClass { class, pairs: pairs.fold(0, |all, bit| all | bit) }
    }
}
