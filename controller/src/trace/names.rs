//! What the numbers in rows stand for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use andromede_abi::{Address, HostIndex, Identity, RuleNumber, rule};
use andromede_model::{HostName, NetworkView, PortName, SecurityGroupName, VtepName};

/// Who has a number of the number space that hosts and foreign tunnel endpoints share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Host(HostName),
    Vtep(VtepName),
}

/// Names of one network.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    endpoints: BTreeMap<HostIndex, Endpoint>,
    /// Rules: "group/rule" and priority.
    rules: BTreeMap<RuleNumber, (String, u16)>,
    /// Groups of an identity, as text.
    identities: BTreeMap<Identity, String>,
    /// Ports by address, with their groups.
    ports: BTreeMap<IpAddr, (PortName, BTreeSet<SecurityGroupName>)>,
}

impl Names {
    pub(super) fn new(view: &NetworkView) -> Self {
        let hosts = view.hosts.values().map(|host| (host.index, Endpoint::Host(host.name.clone())));
        let vteps = view.vteps.values().map(|vtep| (vtep.index, Endpoint::Vtep(vtep.name.clone())));
        let groups_of_rules = view.groups.values().map(|group| (group.name.id(), &group.rules));
        let policies = view.operator_policies.values().map(|policy| (policy.name.id(), &policy.rules));
        let rules = groups_of_rules.chain(policies).flat_map(|(owner, rules)| {
            rules.iter().map(move |rule| (rule.number, (format!("{owner}/{}", rule.name), rule.priority)))
        });
        let groups = |groups: &BTreeSet<SecurityGroupName>| {
            groups.iter().map(SecurityGroupName::id).collect::<Vec<_>>().join(", ")
        };
        let addresses = view
            .ports
            .values()
            .flat_map(|port| port.addresses.iter().map(|it| (*it, (port.name.clone(), port.groups.clone()))));
        Self {
            endpoints: hosts.chain(vteps).collect(),
            rules: rules.collect(),
            identities: view.identities.iter().map(|(number, set)| (*number, groups(set))).collect(),
            ports: addresses.collect(),
        }
    }

    pub(super) fn endpoint(&self, host: HostIndex) -> Option<&Endpoint> {
        self.endpoints.get(&host)
    }

    /// The host or foreign endpoint, in words.
    pub(super) fn host(&self, host: HostIndex) -> String {
        match self.endpoints.get(&host) {
            Some(Endpoint::Host(name)) => name.to_string(),
            Some(Endpoint::Vtep(name)) => name.to_string(),
            None => format!("host number {host}, which the controller does not know in this network"),
        }
    }

    /// "group/rule", or the name of a default; empty if no rule was involved.
    pub(super) fn rule(&self, number: RuleNumber) -> String {
        match number {
            rule::NONE => String::new(),
            rule::DEFAULT_INGRESS => "default-ingress".to_owned(),
            rule::DEFAULT_EGRESS => "default-egress".to_owned(),
            rule::NODE => "node".to_owned(),
            number => {
                let found = self.rules.get(&number).map(|(name, _)| name.clone());
                found.unwrap_or_else(|| format!("rule {number}, which is no longer here"))
            }
        }
    }

    /// The priority of a rule.
    pub(super) fn priority(&self, number: RuleNumber) -> Option<u16> {
        self.rules.get(&number).map(|(_, priority)| *priority)
    }

    /// The port that has the address, and its groups.
    pub(super) fn port(&self, address: Address) -> Option<&(PortName, BTreeSet<SecurityGroupName>)> {
        self.ports.get(&IpAddr::from(address))
    }

    /// The groups of an identity, in words.
    pub(super) fn groups(&self, identity: Identity) -> String {
        match self.identities.get(&identity) {
            Some(groups) => groups.clone(),
            None if identity == 0 => "no groups".to_owned(),
            None => format!("identity {identity}, which the controller does not know"),
        }
    }

    /// The port that has the address, or the address.
    pub(super) fn owner(&self, address: Address) -> String {
        self.ports.get(&IpAddr::from(address)).map_or_else(|| address.to_string(), |(port, _)| port.to_string())
    }
}

/// A protocol and what rules compare of it, in words. `port` is as in a header.
pub(super) fn service(protocol: u8, port: u16) -> String {
    let port = u16::from_be(port);
    match protocol {
        1 => format!("icmp type {} code {}", port >> 8, port & 0xff),
        58 => format!("icmpv6 type {} code {}", port >> 8, port & 0xff),
        6 => format!("tcp port {port}"),
        17 => format!("udp port {port}"),
        132 => format!("sctp port {port}"),
        number => format!("protocol {number}"),
    }
}
