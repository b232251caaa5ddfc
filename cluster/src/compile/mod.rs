//! From a cluster to security groups.
//!
//! | in the cluster | in the network |
//! | --- | --- |
//! | a policy | a group with its allows, which the pods have that it selects |
//! | a selector of peers | a group without rules, which the pods have that it selects |
//! | a block with exceptions | a prefix list |
//! | no policy for what a pod receives | the group [`OPEN`] |
//! | a policy for what a pod sends | the group [`CLOSED`], whose deny stands behind every allow |
//!
//! Policies only add, and so do groups: there is no other deny. What changes about a pod changes its groups and no rule, unless the
//! number of a named port changes.

mod kinds;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use andromede_model::{
    Action, Direction, NameError, NetworkName, PrefixList, PrefixListName, Protocol, Remote, Rule, SecurityGroup,
    SecurityGroupName, Violation, limits,
};

use crate::{
    CLOSED, Cluster, NAMESPACE_LABEL, OPEN, ObjectName, PENDING, POLICY_LABEL, Policy, Selector, group_name,
    policy::NamespaceChoice,
};
use kinds::Kind;

/// Priority of the deny that stands behind every allow.
const LAST: u16 = u16::MAX;

/// What named ports stand for in a pod: the numbers by name and protocol.
pub(crate) type Resolution<'a> = BTreeMap<(&'a str, Protocol), BTreeSet<u16>>;

/// Pods that rules name as the other side; with a port, those of them in which that name stands for that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerKey<'a> {
    pub(crate) namespaces: &'a NamespaceChoice,
    pub(crate) pods: &'a Selector,
    pub(crate) port: Option<(&'a str, Protocol, u16)>,
}

/// What a cluster is in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// Its groups.
    pub groups: BTreeMap<SecurityGroupName, SecurityGroup>,
    /// Its prefix lists.
    pub lists: BTreeMap<PrefixListName, PrefixList>,
    /// The groups that the port of each pod has.
    pub members: BTreeMap<ObjectName, BTreeSet<SecurityGroupName>>,
    /// What could not be expressed: it is closed.
    pub faults: Vec<Fault>,
}

/// Something that could not be expressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A policy allows nothing.
    Policy(ObjectName, Violation),
    /// A pod receives nothing and sends nothing.
    Pod(ObjectName, Violation),
}

/// What a cluster of this name is in this network.
pub fn compile(network: &NetworkName, name: &str, cluster: &Cluster) -> Result<Compiled, Violation> {
    let everywhere = NamespaceChoice::Selected(Selector::everything());
    let everything = Selector::everything();
    let mut compiler = Compiler {
        network,
        name,
        anybody: PeerKey { namespaces: &everywhere, pods: &everything, port: None },
        kinds: kinds::of(cluster),
        peers: BTreeMap::new(),
        compiled: Compiled::default(),
    };
    compiler.fixed(OPEN, rules::allow("open", Direction::Ingress, Protocol::Any, Vec::new(), Remote::Any)?)?;
    let refuse = rules::allow("closed", Direction::Egress, Protocol::Any, Vec::new(), Remote::Any)?;
    let refuse = Rule { action: Action::Deny, priority: LAST, ..refuse };
    compiler.fixed(CLOSED, refuse.clone())?;
    compiler.fixed(PENDING, refuse)?;
    for policy in cluster.policies.values() {
        compiler.policy(policy)?;
    }
    compiler.peers()?;
    compiler.members()?;
    Ok(compiler.compiled)
}

struct Compiler<'a> {
    network: &'a NetworkName,
    name: &'a str,
    /// Every pod.
    anybody: PeerKey<'a>,
    kinds: Vec<Kind<'a>>,
    /// Selectors of peers that rules name.
    peers: BTreeMap<PeerKey<'a>, SecurityGroupName>,
    compiled: Compiled,
}

impl<'a> Compiler<'a> {
    /// The group of a policy, or several if its named ports stand for several numbers, and who has them.
    fn policy(&mut self, policy: &'a Policy) -> Result<(), Violation> {
        let names = rules::names(policy);
        let mut selected: BTreeMap<Resolution<'_>, Vec<usize>> = BTreeMap::new();
        if names.is_empty() {
            // It is there before its pods are, so that a new pod needs no new rule.
            selected.insert(Resolution::new(), Vec::new());
        }
        for (place, kind) in self.kinds.iter_mut().enumerate() {
            if kind.namespace != policy.name.namespace || !policy.subjects.matches(&kind.pod.labels) {
                continue;
            }
            kind.receives_by_policy |= policy.ingress.is_some();
            kind.sends_by_policy |= policy.egress.is_some();
            let numbers = |(name, protocol): &(&'a str, Protocol)| kind.pod.numbers(name, *protocol).collect();
            let resolution = names.iter().map(|name| (*name, numbers(name))).collect();
            selected.entry(resolution).or_default().push(place);
        }
        for (resolution, places) in selected {
            let rules = match self.rules(policy, &resolution) {
                Ok(rules) => rules,
                Err(violation) => {
                    self.compiled.faults.push(Fault::Policy(policy.name.clone(), violation));
                    Vec::new()
                }
            };
            let name = group_name::of_policy(self.network, &policy.name, &resolution).map_err(named)?;
            let labels = [(NAMESPACE_LABEL, policy.name.namespace.as_str()), (POLICY_LABEL, policy.name.name.as_str())];
            self.add(name.clone(), rules, &labels)?;
            for place in places {
                if let Some(kind) = self.kinds.get_mut(place) {
                    kind.groups.insert(name.clone());
                }
            }
        }
        Ok(())
    }

    /// The groups of peers, and who has them.
    fn peers(&mut self) -> Result<(), Violation> {
        for (key, name) in std::mem::take(&mut self.peers) {
            self.add(name.clone(), Vec::new(), &[])?;
            for kind in self.kinds.iter_mut().filter(|kind| kind.is_among(&key)) {
                kind.groups.insert(name.clone());
            }
        }
        Ok(())
    }

    /// The groups of each pod.
    fn members(&mut self) -> Result<(), Violation> {
        let [open, closed, pending] = [OPEN, CLOSED, PENDING].map(|id| group_name::fixed(self.network, id));
        let (open, closed, pending) = (open.map_err(named)?, closed.map_err(named)?, pending.map_err(named)?);
        for kind in std::mem::take(&mut self.kinds) {
            let mut groups = kind.groups;
            if !kind.receives_by_policy {
                groups.insert(open.clone());
            }
            if kind.sends_by_policy {
                groups.insert(closed.clone());
            }
            if groups.len() > limits::GROUPS_PER_PORT {
                let rule = format!("at most {} policies and selectors of peers select a pod", limits::GROUPS_PER_PORT);
                let fix = "let policies share selectors; until then the pod receives and sends nothing";
                let violation = Violation::new("metadata.labels", groups.len(), rule, fix);
                let faults = kind.names.iter().map(|name| Fault::Pod((*name).clone(), violation.clone()));
                self.compiled.faults.extend(faults);
                groups = [pending.clone()].into();
            }
            self.compiled.members.extend(kind.names.iter().map(|name| ((*name).clone(), groups.clone())));
        }
        Ok(())
    }

    fn fixed(&mut self, id: &str, rule: Rule) -> Result<(), Violation> {
        let name = group_name::fixed(self.network, id).map_err(named)?;
        self.add(name, vec![rule], &[])
    }

    fn add(&mut self, name: SecurityGroupName, rules: Vec<Rule>, labels: &[(&str, &str)]) -> Result<(), Violation> {
        let labels = self.labels(labels)?;
        self.compiled.groups.insert(name.clone(), SecurityGroup { name, rules, revision: 0, labels });
        Ok(())
    }
}

fn named(error: NameError) -> Violation {
    error.violation("name")
}
