//! Editing some rules of a security group.

use std::collections::BTreeMap;

use andromede_model::{Rule, RuleName, SecurityGroup, Violation, limits};
use andromede_proto::{convert, v1};
use tonic::Status;

use super::{broken, requests::of_one};
use crate::{change::WriteError, errors};

/// What a call changes in a group.
#[derive(Debug)]
pub(super) struct Edit {
    put: Vec<Rule>,
    remove: Vec<RuleName>,
    allow_missing: bool,
}

impl Edit {
    /// Reads a request, or tells everything that is wrong with it.
    pub(super) fn read(request: &v1::EditRulesRequest) -> Result<Self, Status> {
        for (field, number) in [("put", request.put.len()), ("remove", request.remove.len())] {
            if number > limits::RULES_PER_GROUP {
                let rule = format!("a group has at most {} rules", limits::RULES_PER_GROUP);
                return Err(broken(field, number, &rule, "edit them in several calls"));
            }
        }
        let mut violations = Vec::new();
        let put = convert::rules("put", request.put.clone()).unwrap_or_else(|wrong| {
            violations.extend(wrong);
            Vec::new()
        });
        let mut named: BTreeMap<RuleName, String> = BTreeMap::new();
        let mut name = |name: &RuleName, field: String, violations: &mut Vec<Violation>| {
            if let Some(first) = named.insert(name.clone(), field.clone()) {
                let rule = format!("a call names a rule once; {first} is the same");
                violations.push(Violation::new(field, name, rule, "remove one of the two"));
            }
        };
        for (place, rule) in put.iter().enumerate() {
            name(&rule.name, format!("put[{place}].name"), &mut violations);
        }
        let mut remove = Vec::with_capacity(request.remove.len());
        for (place, text) in request.remove.iter().enumerate() {
            let field = format!("remove[{place}]");
            match text.parse::<RuleName>() {
                Ok(rule) => {
                    name(&rule, field, &mut violations);
                    remove.push(rule);
                }
                Err(error) => violations.push(error.violation(field)),
            }
        }
        if !violations.is_empty() {
            return Err(errors::invalid(&violations));
        }
        Ok(Self { put, remove, allow_missing: request.allow_missing })
    }

    /// The group as it will be: a rule that is replaced keeps its place, a new one stands at the end.
    pub(super) fn of(&self, mut group: SecurityGroup) -> Result<SecurityGroup, Status> {
        let mut places: BTreeMap<RuleName, usize> =
            group.rules.iter().enumerate().map(|(place, rule)| (rule.name.clone(), place)).collect();
        let mut violations = Vec::new();
        for (place, name) in self.remove.iter().enumerate() {
            if !places.contains_key(name) && !self.allow_missing {
                let fix = "look at the rules of the group, or set allow_missing";
                violations.push(Violation::new(format!("remove[{place}]"), name, "the group has no such rule", fix));
            }
        }
        if !violations.is_empty() {
            return Err(errors::invalid(&violations));
        }
        for rule in &self.put {
            if let Some(before) = places.get(&rule.name).and_then(|place| group.rules.get_mut(*place)) {
                before.clone_from(rule);
            } else {
                places.insert(rule.name.clone(), group.rules.len());
                group.rules.push(rule.clone());
            }
        }
        for name in &self.remove {
            places.remove(name);
        }
        group.rules.retain(|rule| places.contains_key(&rule.name));
        Ok(group)
    }

    /// Violations of the whole group, by the fields of the call where they are about a rule that it puts.
    pub(super) fn blame(&self, group: &SecurityGroup, error: WriteError) -> Status {
        let WriteError::Invalid(violations) = error else { return of_one(error) };
        let renamed = |violation: Violation| {
            let put = violation.field.strip_prefix("resources[0].security_group.rules[").and_then(|rest| {
                let (place, rest) = rest.split_once(']')?;
                let name = &group.rules.get(place.parse::<usize>().ok()?)?.name;
                let place = self.put.iter().position(|rule| rule.name == *name)?;
                Some(format!("put[{place}]{rest}"))
            });
            Violation { field: put.unwrap_or_else(|| violation.field.clone()), ..violation }
        };
        of_one(WriteError::Invalid(violations.into_iter().map(renamed).collect()))
    }

    /// What the call is answered with: the rules that were put, as the group has them now.
    pub(super) fn answer(&self, revision: u64, group: v1::SecurityGroup) -> v1::EditRulesResponse {
        let rule_count = u32::try_from(group.rules.len()).unwrap_or(u32::MAX);
        let mut rules: BTreeMap<String, v1::Rule> =
            group.rules.into_iter().map(|rule| (rule.name.clone(), rule)).collect();
        let rules = self.put.iter().filter_map(|rule| rules.remove(rule.name.as_str())).collect();
        v1::EditRulesResponse { revision, etag: group.etag, rules, rule_count }
    }
}
