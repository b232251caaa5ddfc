//! A resource of any kind.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    AnyName, Host, Labels, Network, NetworkName, OperatorPolicy, Port, PrefixList, SecurityGroup, Subnet, Tenant, Vtep,
    Zone,
};

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// A zone.
    Zone(Zone),
    /// A tenant.
    Tenant(Tenant),
    /// A host.
    Host(Host),
    /// A network.
    Network(Network),
    /// A policy of the operator.
    OperatorPolicy(OperatorPolicy),
    /// A subnet.
    Subnet(Subnet),
    /// A prefix list.
    PrefixList(PrefixList),
    /// A security group.
    SecurityGroup(SecurityGroup),
    /// A port.
    Port(Port),
    /// A foreign tunnel endpoint.
    Vtep(Vtep),
}

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// Zones.
    Zone,
    /// Tenants.
    Tenant,
    /// Hosts.
    Host,
    /// Networks.
    Network,
    /// Policies of the operator.
    OperatorPolicy,
    /// Subnets.
    Subnet,
    /// Prefix lists.
    PrefixList,
    /// Security groups.
    SecurityGroup,
    /// Ports.
    Port,
    /// Foreign tunnel endpoints.
    Vtep,
}

impl ResourceKind {
    /// All of them; a kind stands behind those that it refers to.
    pub const ALL: [Self; 10] = [
        Self::Zone,
        Self::Tenant,
        Self::Host,
        Self::Network,
        Self::OperatorPolicy,
        Self::Subnet,
        Self::PrefixList,
        Self::SecurityGroup,
        Self::Port,
        Self::Vtep,
    ];

    /// Its name as in `kind:` of a bundle, for example `SecurityGroup`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zone => "Zone",
            Self::Tenant => "Tenant",
            Self::Host => "Host",
            Self::Network => "Network",
            Self::OperatorPolicy => "OperatorPolicy",
            Self::Subnet => "Subnet",
            Self::PrefixList => "PrefixList",
            Self::SecurityGroup => "SecurityGroup",
            Self::Port => "Port",
            Self::Vtep => "Vtep",
        }
    }

    /// The collection in its names, for example `securityGroups`.
    pub const fn collection(self) -> &'static str {
        match self {
            Self::Zone => "zones",
            Self::Tenant => "tenants",
            Self::Host => "hosts",
            Self::Network => "networks",
            Self::OperatorPolicy => "operatorPolicies",
            Self::Subnet => "subnets",
            Self::PrefixList => "prefixLists",
            Self::SecurityGroup => "securityGroups",
            Self::Port => "ports",
            Self::Vtep => "vteps",
        }
    }

    /// Its field of the message `Resource`, for example `security_group`.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Tenant => "tenant",
            Self::Host => "host",
            Self::Network => "network",
            Self::OperatorPolicy => "operator_policy",
            Self::Subnet => "subnet",
            Self::PrefixList => "prefix_list",
            Self::SecurityGroup => "security_group",
            Self::Port => "port",
            Self::Vtep => "vtep",
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Resource {
    /// Its name.
    pub fn name(&self) -> AnyName {
        match self {
            Self::Zone(zone) => zone.name.clone().into(),
            Self::Tenant(tenant) => tenant.name.clone().into(),
            Self::Host(host) => host.name.clone().into(),
            Self::Network(network) => network.name.clone().into(),
            Self::OperatorPolicy(policy) => policy.name.clone().into(),
            Self::Subnet(subnet) => subnet.name.clone().into(),
            Self::PrefixList(list) => list.name.clone().into(),
            Self::SecurityGroup(group) => group.name.clone().into(),
            Self::Port(port) => port.name.clone().into(),
            Self::Vtep(vtep) => vtep.name.clone().into(),
        }
    }

    /// The network that it is, or that it belongs to.
    pub fn network(&self) -> Option<NetworkName> {
        self.name().network()
    }

    /// Its kind.
    pub const fn kind(&self) -> ResourceKind {
        match self {
            Self::Zone(_) => ResourceKind::Zone,
            Self::Tenant(_) => ResourceKind::Tenant,
            Self::Host(_) => ResourceKind::Host,
            Self::Network(_) => ResourceKind::Network,
            Self::OperatorPolicy(_) => ResourceKind::OperatorPolicy,
            Self::Subnet(_) => ResourceKind::Subnet,
            Self::PrefixList(_) => ResourceKind::PrefixList,
            Self::SecurityGroup(_) => ResourceKind::SecurityGroup,
            Self::Port(_) => ResourceKind::Port,
            Self::Vtep(_) => ResourceKind::Vtep,
        }
    }

    /// Its labels.
    pub const fn labels(&self) -> &Labels {
        match self {
            Self::Zone(zone) => &zone.labels,
            Self::Tenant(tenant) => &tenant.labels,
            Self::Host(host) => &host.labels,
            Self::Network(network) => &network.labels,
            Self::Subnet(subnet) => &subnet.labels,
            Self::SecurityGroup(group) => &group.labels,
            Self::Port(port) => &port.labels,
            Self::Vtep(vtep) => &vtep.labels,
            Self::OperatorPolicy(policy) => &policy.labels,
            Self::PrefixList(list) => &list.labels,
        }
    }

    /// Revision of its last write.
    pub const fn revision(&self) -> u64 {
        match self {
            Self::Zone(zone) => zone.revision,
            Self::Tenant(tenant) => tenant.revision,
            Self::Host(host) => host.revision,
            Self::Network(network) => network.revision,
            Self::OperatorPolicy(policy) => policy.revision,
            Self::Subnet(subnet) => subnet.revision,
            Self::PrefixList(list) => list.revision,
            Self::SecurityGroup(group) => group.revision,
            Self::Port(port) => port.revision,
            Self::Vtep(vtep) => vtep.revision,
        }
    }
}

macro_rules! resource_from {
    ($($kind:ident)*) => { $(
        impl From<$kind> for Resource {
            fn from(resource: $kind) -> Self {
                Self::$kind(resource)
            }
        }
    )* };
}
resource_from! { Zone Tenant Host Network OperatorPolicy Subnet PrefixList SecurityGroup Port Vtep }
