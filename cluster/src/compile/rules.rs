//! The rules of a policy's group.

use std::collections::{BTreeMap, BTreeSet};

use andromede_model::{
    Action, Direction, Existing, Labels, PortRange, Prefix, PrefixList, Protocol, Remote, Rule, Violation, limits,
};

use super::{Compiler, PeerKey, Resolution};
use crate::{
    group_name,
    policy::{Peer, PeerRule, Peers, Policy, Service, ServicePort},
};

/// Destination ports of a rule, by protocol; an empty list: all of them.
type Services = Vec<(Protocol, Vec<PortRange>)>;

/// A rule that lets something pass.
pub(super) fn allow(
    name: &str,
    direction: Direction,
    protocol: Protocol,
    ports: Vec<PortRange>,
    remote: Remote,
) -> Result<Rule, Violation> {
    Ok(Rule {
        name: name.parse().map_err(|error: andromede_model::NameError| error.violation("name"))?,
        direction,
        action: Action::Allow,
        priority: Rule::DEFAULT_PRIORITY,
        protocol,
        ports,
        icmp_type: None,
        icmp_code: None,
        remote,
        log: false,
        existing: Existing::Cut,
        number: 0,
    })
}

impl<'a> Compiler<'a> {
    /// The rules of a policy for pods in which its named ports stand for these numbers.
    pub(super) fn rules(&mut self, policy: &'a Policy, resolution: &Resolution<'_>) -> Result<Vec<Rule>, Violation> {
        let mut rules = Vec::new();
        for (place, rule) in policy.ingress.iter().flatten().enumerate() {
            let services = services(rule, |name, protocol| {
                resolution.get(&(name, protocol)).into_iter().flatten().copied().collect()
            });
            for (peer, remote) in self.remotes(rule)?.into_iter().enumerate() {
                add(&mut rules, &format!("ingress-{place}-{peer}"), Direction::Ingress, &remote, &services)?;
            }
        }
        for (place, rule) in policy.egress.iter().flatten().enumerate() {
            // A name stands for what it does in each destination: those are rules of their own.
            let services = services(rule, |_, _| BTreeSet::new());
            for (peer, remote) in self.remotes(rule)?.into_iter().enumerate() {
                add(&mut rules, &format!("egress-{place}-{peer}"), Direction::Egress, &remote, &services)?;
            }
            self.named(&mut rules, place, rule)?;
        }
        if rules.len() > limits::RULES_PER_GROUP {
            let rule = format!("a policy is at most {} rules: one for each peer and protocol", limits::RULES_PER_GROUP);
            return Err(Violation::new("spec", rules.len(), rule, "divide it into several policies"));
        }
        Ok(rules)
    }

    /// The other sides of a rule.
    fn remotes(&mut self, rule: &'a PeerRule) -> Result<Vec<Remote>, Violation> {
        let Peers::OneOf(peers) = &rule.peers else { return Ok(vec![Remote::Any]) };
        let mut remotes = Vec::with_capacity(peers.len());
        for peer in peers {
            match peer {
                Peer::Pods(namespaces, pods) => {
                    remotes.push(self.group_of(PeerKey { namespaces, pods, port: None })?);
                }
                Peer::Addresses(prefixes) => match prefixes.as_slice() {
                    [] => {}
                    [one] => remotes.push(Remote::Cidr(*one)),
                    many => remotes.push(self.list_of(many)?),
                },
            }
        }
        Ok(remotes)
    }

    /// The rules for named ports of destinations: one for each number that a name stands for in some of them.
    fn named(&mut self, rules: &mut Vec<Rule>, place: usize, rule: &'a PeerRule) -> Result<(), Violation> {
        let anybody = [self.anybody];
        let peers: Vec<PeerKey<'a>> = match &rule.peers {
            Peers::Anybody => anybody.to_vec(),
            Peers::OneOf(peers) => peers.iter().filter_map(pods).collect(),
        };
        for (which, service) in rule.services.iter().flatten().enumerate() {
            let ServicePort::Named(name) = &service.port else { continue };
            let protocol = service.protocol;
            for (peer, key) in peers.iter().enumerate() {
                let kinds = self.kinds.iter().filter(|kind| kind.is_among(key));
                let numbers: BTreeSet<u16> = kinds.flat_map(|kind| kind.pod.numbers(name, protocol)).collect();
                for number in numbers {
                    let remote = self.group_of(PeerKey { port: Some((name, protocol, number)), ..*key })?;
                    let services = vec![(protocol, PortRange::new(number, number).into_iter().collect())];
                    let prefix = format!("egress-{place}-{peer}-named-{which}-{number}");
                    add(rules, &prefix, Direction::Egress, &remote, &services)?;
                }
            }
        }
        Ok(())
    }

    fn group_of(&mut self, key: PeerKey<'a>) -> Result<Remote, Violation> {
        if let Some(name) = self.peers.get(&key) {
            return Ok(Remote::Group(name.clone()));
        }
        let name = group_name::of_peer(self.network, &key).map_err(|error| error.violation("peer"))?;
        self.peers.insert(key, name.clone());
        Ok(Remote::Group(name))
    }

    fn list_of(&mut self, prefixes: &[Prefix]) -> Result<Remote, Violation> {
        let name = group_name::of_list(self.network, prefixes).map_err(|error| error.violation("ipBlock"))?;
        if !self.compiled.lists.contains_key(&name) && self.compiled.lists.len() >= limits::LISTS_PER_NETWORK {
            let most = limits::LISTS_PER_NETWORK;
            let rule = format!("the policies of a network have at most {most} different blocks with exceptions");
            return Err(Violation::new(
                "ipBlock",
                prefixes.len(),
                rule,
                "let policies share blocks, or write prefixes",
            ));
        }
        let list =
            PrefixList { name: name.clone(), prefixes: prefixes.to_vec(), revision: 0, labels: self.labels(&[])? };
        self.compiled.lists.insert(name.clone(), list);
        Ok(Remote::PrefixList(name))
    }

    /// The label of this cluster, and others as far as they are labels.
    pub(super) fn labels(&self, others: &[(&str, &str)]) -> Result<Labels, Violation> {
        let mut labels: BTreeMap<String, String> = [(crate::CLUSTER_LABEL.to_owned(), self.name.to_owned())].into();
        for (key, value) in others {
            let one: BTreeMap<String, String> = [((*key).to_owned(), (*value).to_owned())].into();
            // A name may be longer than a label: it is there for people, and may be left out.
            if Labels::new(one.clone()).is_ok() {
                labels.extend(one);
            }
        }
        Labels::new(labels).map_err(|(key, error)| error.violation(key))
    }
}

/// The selectors of a peer that is pods.
fn pods(peer: &Peer) -> Option<PeerKey<'_>> {
    match peer {
        Peer::Pods(namespaces, pods) => Some(PeerKey { namespaces, pods, port: None }),
        Peer::Addresses(_) => None,
    }
}

/// The names of ports of what policies let in, which stand for numbers of the pods that they select.
pub(super) fn names(policy: &Policy) -> BTreeSet<(&str, Protocol)> {
    let services = policy.ingress.iter().flatten().flat_map(|rule| rule.services.iter().flatten());
    let named = services.filter_map(|service| match &service.port {
        ServicePort::Named(name) => Some((name.as_str(), service.protocol)),
        _ => None,
    });
    named.collect()
}

/// The services of a rule; `numbers` says what a name stands for. A name that stands for nothing lets nothing in.
fn services<'r>(rule: &'r PeerRule, numbers: impl Fn(&'r str, Protocol) -> BTreeSet<u16>) -> Services {
    let Some(services) = &rule.services else { return vec![(Protocol::Any, Vec::new())] };
    let mut ports: BTreeMap<Protocol, Option<BTreeSet<PortRange>>> = BTreeMap::new();
    for Service { protocol, port } in services {
        let ranges = ports.entry(*protocol).or_insert_with(|| Some(BTreeSet::new()));
        match port {
            ServicePort::All => *ranges = None,
            ServicePort::Range(range) => {
                if let Some(ranges) = ranges {
                    ranges.insert(*range);
                }
            }
            ServicePort::Named(name) => {
                let named = numbers(name, *protocol).into_iter().filter_map(|number| PortRange::new(number, number));
                if let Some(ranges) = ranges {
                    ranges.extend(named);
                }
            }
        }
    }
    let some = ports.into_iter().filter_map(|(protocol, ranges)| match ranges {
        None => Some((protocol, Vec::new())),
        Some(ranges) if ranges.is_empty() => None,
        Some(ranges) => Some((protocol, ranges.into_iter().collect())),
    });
    some.collect()
}

/// Adds the rules for one remote.
fn add(
    rules: &mut Vec<Rule>,
    prefix: &str,
    direction: Direction,
    remote: &Remote,
    services: &Services,
) -> Result<(), Violation> {
    for (protocol, ports) in services {
        let name = format!("{prefix}-{protocol}");
        if ports.is_empty() {
            rules.push(allow(&name, direction, *protocol, Vec::new(), remote.clone())?);
        }
        for (part, some) in ports.chunks(limits::PORT_RANGES_PER_RULE).enumerate() {
            let name = if part == 0 { name.clone() } else { format!("{name}-{part}") };
            rules.push(allow(&name, direction, *protocol, some.to_vec(), remote.clone())?);
        }
    }
    Ok(())
}
