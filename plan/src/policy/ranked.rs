//! The order in which rules decide.

use std::collections::BTreeSet;

use andromede_abi::{Action, cell_flag};
use andromede_model::{
    Direction, Existing, Model, NetworkView, OperatorPolicy, Prefix, PrefixList, PrefixListName, Remote, Rule,
    SecurityGroup, SecurityGroupName,
};

/// Where groups, and the prefix lists that their rules name, are found.
pub trait Policies {
    /// A group.
    fn group(&self, name: &SecurityGroupName) -> Option<&SecurityGroup>;
    /// A prefix list.
    fn prefix_list(&self, name: &PrefixListName) -> Option<&PrefixList>;
}

impl Policies for NetworkView {
    fn group(&self, name: &SecurityGroupName) -> Option<&SecurityGroup> {
        self.groups.get(name)
    }

    fn prefix_list(&self, name: &PrefixListName) -> Option<&PrefixList> {
        self.prefix_lists.get(name)
    }
}

impl Policies for Model {
    fn group(&self, name: &SecurityGroupName) -> Option<&SecurityGroup> {
        self.security_group(name)
    }

    fn prefix_list(&self, name: &PrefixListName) -> Option<&PrefixList> {
        Self::prefix_list(self, name)
    }
}

/// A rule, and the prefixes of its remote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranked<'a> {
    pub(crate) rule: &'a Rule,
    /// The prefixes of the list that is its remote; none otherwise.
    pub(crate) list: &'a [Prefix],
    /// Is it of the operator's tier?
    operator: bool,
}

impl Ranked<'_> {
    /// What it does, as the rows say it.
    pub(crate) fn action(&self) -> Action {
        match self.rule.action {
            andromede_model::Action::Allow => Action::Allow,
            andromede_model::Action::Deny => Action::Deny,
            andromede_model::Action::Pass => Action::Pass,
        }
    }

    /// What it says besides, as the rows say it.
    pub(crate) fn flags(&self) -> u8 {
        let log = if self.rule.log { cell_flag::LOG } else { 0 };
        let keep = if self.rule.existing == Existing::Keep { cell_flag::KEEP } else { 0 };
        log | keep | if self.operator { cell_flag::OPERATOR } else { 0 }
    }
}

/// Puts rules into the order in which they decide: priority, then deny before pass before allow, then number.
fn sorted(mut rules: Vec<Ranked<'_>>) -> Vec<Ranked<'_>> {
    let place = |action| match action {
        Action::Deny => 0,
        Action::Pass => 1,
        Action::Allow => 2,
    };
    rules.sort_by_key(|ranked| (ranked.rule.priority, place(ranked.action()), ranked.rule.number));
    rules.dedup_by_key(|ranked| ranked.rule.number);
    rules
}

/// The rules of one direction of these groups.
pub(crate) fn of_groups<'a>(
    policies: &'a impl Policies,
    groups: &BTreeSet<SecurityGroupName>,
    direction: Direction,
) -> Vec<Ranked<'a>> {
    let rules = groups.iter().filter_map(|group| policies.group(group)).flat_map(|group| &group.rules);
    let rules = rules.filter(|rule| rule.direction == direction).map(|rule| {
        let list = match &rule.remote {
            Remote::PrefixList(name) => policies.prefix_list(name).map_or(&[][..], |list| &list.prefixes),
            Remote::Any | Remote::Cidr(_) | Remote::Group(_) => &[],
        };
        Ranked { rule, list, operator: false }
    });
    sorted(rules.collect())
}

/// The rules of one direction of these policies of the operator.
pub(crate) fn of_operator<'a>(
    policies: impl IntoIterator<Item = &'a OperatorPolicy>,
    direction: Direction,
) -> Vec<Ranked<'a>> {
    let rules = policies.into_iter().flat_map(|policy| &policy.rules);
    let rules = rules.filter(|rule| rule.direction == direction);
    sorted(rules.map(|rule| Ranked { rule, list: &[], operator: true }).collect())
}
