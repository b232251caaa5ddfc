//! Compiling rules: from a list that is scanned to tables that are looked up.
//!
//! A *class* stands for a set of rules: all those that match everything in the class. Remotes that the same rules match share
//! a class, and so do services; a cell says which rule is the first for a remote class and a service class. How the tables
//! are read is written in `abi::policy`.

mod remote;
mod service;
mod set;

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::{Action, CellRow, remote_class};
use andromede_model::{Direction, NetworkView, Rule, SecurityGroupName};

use crate::{Rows, TooLarge};

pub(crate) use set::Sets;

/// Ranks of rules, ascending: what a class stands for.
type Ranks = Vec<u32>;

/// Most pairs of a remote class and a service class that one set of rules may have, counted once for each rule that matches both:
/// as many as the table of cells has rows.
const COMBINATIONS: usize = andromede_abi::maps::POLICY_CELLS.rows as usize;

/// Most mentions of a rule in the classes of one set of rules: what nested prefixes and ranges make of many rules.
const MENTIONS: usize = 1 << 22;

/// What is left of [`MENTIONS`] while classes are made.
struct Mentions(usize);

impl Mentions {
    fn spend(&mut self, number: usize) -> Result<(), TooLarge> {
        let most = MENTIONS as u32;
        self.0 += number;
        let error = TooLarge { table: "mentions of rules in classes", rows: self.0, most };
        if self.0 > MENTIONS { Err(error) } else { Ok(()) }
    }
}

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

/// The tables for the rules of one direction of these groups.
pub(crate) fn compile(
    view: &NetworkView,
    groups: &BTreeSet<SecurityGroupName>,
    direction: Direction,
) -> Result<Content, TooLarge> {
    let rules = groups.iter().filter_map(|group| view.groups.get(group)).flat_map(|group| &group.rules);
    let rules = ranked(rules.filter(|rule| rule.direction == direction));
    let mut content = Content::default();
    let mut services = Classes::starting_at(1);
    service::classify(&rules, &mut services, &mut content)?;
    let mut remotes = Classes::starting_at(remote_class::FIRST);
    remote::classify_identities(&rules, &view.identities, &mut remotes, &mut content);
    let of_identities = remotes.by_rule(rules.len());
    // A class of identities and one of prefixes never share a number, so the second begins behind the first.
    let mut remotes = Classes::starting_at(remotes.next);
    remote::classify_prefixes(&rules, &mut remotes, &mut content)?;
    let of_prefixes = remotes.by_rule(rules.len());
    let of_services = services.by_rule(rules.len());
    let remotes = of_identities.iter().zip(&of_prefixes).map(|(one, other)| one.len() + other.len() + 1);
    let combinations: usize = remotes.zip(&of_services).map(|(remotes, services)| remotes * services.len()).sum();
    if combinations > COMBINATIONS {
        return Err(TooLarge {
            table: "combinations of remotes and services",
            rows: combinations,
            most: COMBINATIONS as u32,
        });
    }
    let ranked = rules.iter().zip(of_identities).zip(of_prefixes).zip(of_services);
    for (rank, (((rule, identities), prefixes), services)) in ranked.enumerate() {
        let any = remote::is_any(rule).then_some(remote_class::ANY);
        let row = CellRow { order: rank as u32, rule: rule.number, action: action(rule) as u8, flags: 0, reserved: 0 };
        for service in services {
            // Rules come in the order in which they decide. The cell of any remote is always read, so behind a rule for any
            // remote no other is needed; and the first to claim a cell has it.
            if content.cells.contains_key(&(remote_class::ANY, service)) {
                continue;
            }
            for remote in identities.iter().chain(&prefixes).copied().chain(any) {
                content.cells.entry((remote, service)).or_insert(row);
            }
        }
    }
    Ok(content)
}

/// The rows of these groups for one direction, under some number.
pub(crate) fn rows(
    view: &NetworkView,
    groups: &BTreeSet<SecurityGroupName>,
    direction: Direction,
) -> Result<Rows, TooLarge> {
    let mut rows = Rows::default();
    Sets::new(&Rows::default()).number(compile(view, groups, direction)?, &mut rows);
    Ok(rows)
}
