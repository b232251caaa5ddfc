//! What the controller tells a host of a network.

use std::collections::BTreeMap;

use andromede_model::{
    Admitted, Host, IdentitySet, NetworkView, OperatorPolicy, Port, PrefixList, Resource, SecurityGroup, Subnet,
    Tenant, ViewDelta, Vtep,
};

use super::fields::{Fields, FromMessage};
use crate::agent::v1 as agent;

impl FromMessage for IdentitySet {
    type Message = agent::Identity;

    fn read(message: agent::Identity, fields: &mut Fields<'_>) -> Option<Self> {
        if message.number == 0 {
            return fields.refuse("number", 0, "0 is the set without groups", "number sets from 1");
        }
        let groups = fields.texts("security_groups", &message.security_groups);
        Some(Self { number: message.number, groups: groups.into_iter().collect() })
    }
}

impl From<IdentitySet> for agent::Identity {
    fn from(set: IdentitySet) -> Self {
        Self { number: set.number, security_groups: set.groups.into_iter().map(Into::into).collect() }
    }
}

fn zones(message: agent::AdmittedZones) -> Admitted {
    Admitted::Zones(message.numbers.into_iter().collect())
}

fn zones_message(zones: Admitted) -> Option<agent::AdmittedZones> {
    match zones {
        Admitted::Anywhere => None,
        Admitted::Zones(zones) => Some(agent::AdmittedZones { numbers: zones.into_iter().collect() }),
    }
}

/// A map from name to resource.
fn by_name<N: Ord, R>(resources: Vec<R>, name: impl Fn(&R) -> N) -> BTreeMap<N, R> {
    resources.into_iter().map(|resource| (name(&resource), resource)).collect()
}

impl FromMessage for NetworkView {
    type Message = agent::NetworkView;

    /// The revision stands in the `Update` around it: it is 0 here.
    fn read(message: agent::NetworkView, fields: &mut Fields<'_>) -> Option<Self> {
        let network = fields.message("network", message.network);
        let tenant = message.tenant.map(|tenant| Tenant::read(tenant, &mut fields.inside("tenant")));
        let subnets: Vec<Subnet> = fields.list("subnets", message.subnets);
        let ports: Vec<Port> = fields.list("ports", message.ports);
        let groups: Vec<SecurityGroup> = fields.list("security_groups", message.security_groups);
        let prefix_lists: Vec<PrefixList> = fields.list("prefix_lists", message.prefix_lists);
        let policies: Vec<OperatorPolicy> = fields.list("operator_policies", message.operator_policies);
        let vteps: Vec<Vtep> = fields.list("vteps", message.vteps);
        let hosts: Vec<Host> = fields.list("hosts", message.hosts);
        let identities: Vec<IdentitySet> = fields.list("identities", message.identities);
        Some(Self {
            network: network?,
            tenant: tenant.flatten(),
            zones: message.zones.map(zones).unwrap_or_default(),
            subnets: by_name(subnets, |subnet| subnet.name.clone()),
            ports: by_name(ports, |port| port.name.clone()),
            groups: by_name(groups, |group| group.name.clone()),
            prefix_lists: by_name(prefix_lists, |list| list.name.clone()),
            operator_policies: by_name(policies, |policy| policy.name.clone()),
            vteps: by_name(vteps, |vtep| vtep.name.clone()),
            hosts: by_name(hosts, |host| host.name.clone()),
            identities: identities.into_iter().map(|set| (set.number, set.groups)).collect(),
            revision: 0,
        })
    }
}

impl From<NetworkView> for agent::NetworkView {
    fn from(view: NetworkView) -> Self {
        let identity = |(number, groups)| IdentitySet { number, groups }.into();
        Self {
            network: Some(view.network.into()),
            tenant: view.tenant.map(Into::into),
            zones: zones_message(view.zones),
            subnets: view.subnets.into_values().map(Into::into).collect(),
            ports: view.ports.into_values().map(Into::into).collect(),
            security_groups: view.groups.into_values().map(Into::into).collect(),
            vteps: view.vteps.into_values().map(Into::into).collect(),
            hosts: view.hosts.into_values().map(Into::into).collect(),
            identities: view.identities.into_iter().map(identity).collect(),
            prefix_lists: view.prefix_lists.into_values().map(Into::into).collect(),
            operator_policies: view.operator_policies.into_values().map(Into::into).collect(),
        }
    }
}

impl FromMessage for ViewDelta {
    type Message = agent::NetworkDelta;

    fn read(message: agent::NetworkDelta, fields: &mut Fields<'_>) -> Option<Self> {
        let network = fields.text("network", &message.network);
        let written: Vec<Resource> = fields.list("written", message.written);
        let deleted = fields.texts("deleted", &message.deleted);
        let identities = fields.list("identities", message.identities);
        let identities_removed = message.identities_removed;
        let by_law = written.iter().any(|it| matches!(it, Resource::Tenant(_) | Resource::Network(_)));
        let zones = message.zones.map(zones).or_else(|| by_law.then_some(Admitted::Anywhere));
        Some(Self { network: network?, zones, written, deleted, identities, identities_removed })
    }
}

impl From<ViewDelta> for agent::NetworkDelta {
    fn from(delta: ViewDelta) -> Self {
        Self {
            network: delta.network.into(),
            zones: delta.zones.and_then(zones_message),
            written: delta.written.into_iter().map(Into::into).collect(),
            deleted: delta.deleted.into_iter().map(Into::into).collect(),
            identities: delta.identities.into_iter().map(Into::into).collect(),
            identities_removed: delta.identities_removed,
        }
    }
}
