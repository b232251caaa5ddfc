//! Compiling rules: from a list that is scanned to tables that are looked up.
//!
//! A *class* stands for a set of rules: all those that match everything in the class. Remotes that the same rules match share
//! a class, and so do services; a cell says which rule is the first for a remote class and a service class. How the tables
//! are read is written in `abi::policy`.

mod remote;
mod service;
mod set;

use std::collections::BTreeMap;

use andromede_abi::{Action, CellRow, remote_class};
use andromede_model::{Rule, SecurityGroupName};

pub(crate) use set::Sets;

/// Ranks of rules, ascending: what a class stands for.
type Ranks = Vec<u32>;

/// The tables of one set, without its number.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Content {
    /// Identity to remote class.
    pub(crate) identities: BTreeMap<u32, u32>,
    /// Prefix length (32 and that of the address) and address to remote class.
    pub(crate) prefixes: BTreeMap<(u32, andromede_abi::Address), u32>,
    /// Prefix length, protocol and port, as in a `ServiceKey`, to service class.
    pub(crate) services: BTreeMap<(u32, u16, u16), u32>,
    /// Remote class and service class to the first rule.
    pub(crate) cells: BTreeMap<(u32, u32), CellRow>,
}

/// Gives each distinct set of rules a number.
struct Classes {
    numbers: BTreeMap<Ranks, u32>,
    next: u32,
}

impl Classes {
    fn starting_at(next: u32) -> Self {
        Self { numbers: BTreeMap::new(), next }
    }

    /// The number of the class that stands for these rules.
    fn of(&mut self, ranks: &Ranks) -> u32 {
        if let Some(number) = self.numbers.get(ranks) {
            return *number;
        }
        let number = self.next;
        self.next += 1;
        self.numbers.insert(ranks.clone(), number);
        number
    }

    /// For each rule, the classes that it belongs to.
    fn by_rule(&self, rules: usize) -> Vec<Vec<u32>> {
        let mut classes = vec![Vec::new(); rules];
        for (ranks, number) in &self.numbers {
            for rank in ranks {
                if let Some(classes) = classes.get_mut(*rank as usize) {
                    classes.push(*number);
                }
            }
        }
        classes
    }
}

/// The rules in the order in which they decide: priority, then deny before allow, then number.
fn ranked<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> Vec<&'a Rule> {
    let mut rules: Vec<&Rule> = rules.into_iter().collect();
    rules.sort_by_key(|rule| (rule.priority, action(rule) == Action::Allow, rule.number));
    rules.dedup_by_key(|rule| rule.number);
    rules
}

/// What a rule does, as the rows say it.
fn action(rule: &Rule) -> Action {
    match rule.action {
        andromede_model::Action::Allow => Action::Allow,
        andromede_model::Action::Deny => Action::Deny,
    }
}

/// The tables for rules of one direction. `identities` are the interned sets of groups of the network.
pub(crate) fn compile<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    identities: &BTreeMap<u32, std::collections::BTreeSet<SecurityGroupName>>,
) -> Content {
    let rules = ranked(rules);
    let mut content = Content::default();
    let mut services = Classes::starting_at(1);
    service::classify(&rules, &mut services, &mut content);
    let mut remotes = Classes::starting_at(remote_class::FIRST);
    remote::classify_identities(&rules, identities, &mut remotes, &mut content);
    let of_identities = remotes.by_rule(rules.len());
    // A class of identities and one of prefixes never share a number, so the second begins behind the first.
    let mut remotes = Classes::starting_at(remotes.next);
    remote::classify_prefixes(&rules, &mut remotes, &mut content);
    let of_prefixes = remotes.by_rule(rules.len());
    let of_services = services.by_rule(rules.len());
    let ranked = rules.iter().zip(of_identities).zip(of_prefixes).zip(of_services);
    for (rank, (((rule, identities), prefixes), services)) in ranked.enumerate() {
        let any = remote::is_any(rule).then_some(remote_class::ANY);
        let row = CellRow { order: rank as u32, rule: rule.number, action: action(rule) as u8, flags: 0, reserved: 0 };
        for remote in identities.into_iter().chain(prefixes).chain(any) {
            for service in &services {
                // Rules come in the order in which they decide: the first to claim a cell has it.
                content.cells.entry((remote, *service)).or_insert(row);
            }
        }
    }
    content
}
