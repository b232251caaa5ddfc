//! Resources other than security groups.

use andromede_model::{
    Host, HostState, MacAddress, Network, OperatorPolicy, Port, PortLimits, PrefixList, Reservation, Residency,
    Resource, SecurityGroup, Subnet, Tenant, TenantLimits, Timeouts, Vni, Vtep, Zone, limits,
};

use super::{
    fields::{Fields, FromMessage},
    limits::{limits_message, tenant_limits_message, tenant_quotas_message},
    zone::residency_message,
};
use crate::v1::{self, resource::Kind};

impl FromMessage for Tenant {
    type Message = v1::Tenant;

    fn read(message: v1::Tenant, fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text("name", &message.name);
        let labels = fields.labels(message.labels);
        if message.display_name.chars().count() > limits::DISPLAY_NAME {
            return fields.refuse(
                "display_name",
                &message.display_name,
                format!("a display name has at most {} characters", limits::DISPLAY_NAME),
                "shorten it",
            );
        }
        let limits = TenantLimits::read(message.limits.unwrap_or_default(), &mut fields.inside("limits"));
        let residency = Residency::read(message.residency.unwrap_or_default(), &mut fields.inside("residency"));
        Some(Self {
            residency: residency?,
            quotas: message.quotas.unwrap_or_default().into(),
            name: name?,
            display_name: message.display_name,
            index: message.index,
            revision: message.revision,
            labels: labels?,
            limits: limits?,
        })
    }
}

impl From<Tenant> for v1::Tenant {
    fn from(tenant: Tenant) -> Self {
        Self {
            name: tenant.name.into(),
            display_name: tenant.display_name,
            index: tenant.index,
            revision: tenant.revision,
            limits: tenant_limits_message(tenant.limits),
            quotas: tenant_quotas_message(tenant.quotas),
            residency: residency_message(tenant.residency),
            labels: tenant.labels.into(),
            etag: String::new(),
        }
    }
}

impl FromMessage for Network {
    type Message = v1::Network;

    fn read(message: v1::Network, fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text("name", &message.name);
        let labels = fields.labels(message.labels);
        let vni = fields.check("vni", Vni::try_from(message.vni));
        let mtu = match message.mtu {
            0 => None,
            mtu if (limits::MTU_LEAST..=limits::MTU_MOST).contains(&mtu) => Some(mtu),
            mtu => {
                return fields.refuse(
                    "mtu",
                    mtu,
                    format!("an MTU is {} to {} bytes", limits::MTU_LEAST, limits::MTU_MOST),
                    "give one in this range, or 0 for that of the underlay less the encapsulation",
                );
            }
        };
        let timeouts = Timeouts::read(message.timeouts.unwrap_or_default(), &mut fields.inside("timeouts"));
        let residency = Residency::read(message.residency.unwrap_or_default(), &mut fields.inside("residency"));
        Some(Self {
            residency: residency?,
            name: name?,
            vni: vni?,
            mtu,
            timeouts: timeouts?,
            tenant_index: message.tenant_index,
            index: message.index,
            revision: message.revision,
            labels: labels?,
        })
    }
}

impl From<Network> for v1::Network {
    fn from(network: Network) -> Self {
        Self {
            name: network.name.into(),
            vni: network.vni.get(),
            mtu: network.mtu.unwrap_or_default(),
            index: network.index,
            revision: network.revision,
            timeouts: Some(network.timeouts.into()),
            tenant_index: network.tenant_index,
            residency: residency_message(network.residency),
            labels: network.labels.into(),
            etag: String::new(),
        }
    }
}

impl FromMessage for Subnet {
    type Message = v1::Subnet;

    fn read(message: v1::Subnet, fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text("name", &message.name);
        let labels = fields.labels(message.labels);
        let cidr = fields.text("cidr", &message.cidr);
        let gateway = if message.gateway.is_empty() {
            cidr.map(Self::default_gateway)
        } else {
            fields.address("gateway", &message.gateway)
        };
        let host = fields.optional_text("host", &message.host);
        let reservations = fields.list("reservations", message.reservations);
        Some(Self {
            name: name?,
            cidr: cidr?,
            gateway: gateway?,
            host: host?,
            reservations,
            revision: message.revision,
            labels: labels?,
        })
    }
}

impl From<Subnet> for v1::Subnet {
    fn from(subnet: Subnet) -> Self {
        Self {
            name: subnet.name.into(),
            cidr: subnet.cidr.to_string(),
            gateway: subnet.gateway.to_string(),
            host: subnet.host.map(Into::into).unwrap_or_default(),
            reservations: subnet.reservations.into_iter().map(Into::into).collect(),
            revision: subnet.revision,
            labels: subnet.labels.into(),
            etag: String::new(),
        }
    }
}

impl FromMessage for Reservation {
    type Message = v1::Reservation;

    fn read(message: v1::Reservation, fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text("name", &message.name);
        let cidr = fields.text("cidr", &message.cidr);
        let port = fields.optional_text("port", &message.port);
        Some(Self { name: name?, cidr: cidr?, port: port?, description: message.description })
    }
}

impl From<Reservation> for v1::Reservation {
    fn from(reservation: Reservation) -> Self {
        Self {
            name: reservation.name.into(),
            cidr: reservation.cidr.to_string(),
            port: reservation.port.map(Into::into).unwrap_or_default(),
            description: reservation.description,
        }
    }
}

impl FromMessage for Port {
    type Message = v1::Port;

    fn read(message: v1::Port, fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text("name", &message.name);
        let labels = fields.labels(message.labels);
        let place = |(place, text): (usize, &String)| fields.address(&format!("addresses[{place}]"), text);
        let addresses = message.addresses.iter().enumerate().filter_map(place).collect();
        let mac = fields.optional_text("mac", &message.mac);
        let host = fields.optional_text("host", &message.host);
        let groups = fields.texts("security_groups", &message.security_groups);
        let uid = fields.optional_text("uid", &message.uid);
        let limits = PortLimits::read(message.limits.unwrap_or_default(), &mut fields.inside("limits"));
        Some(Self {
            name: name?,
            addresses,
            mac: mac?.unwrap_or(MacAddress::UNSET),
            host: host?,
            groups: groups.into_iter().collect(),
            limits: limits?,
            identity: message.identity,
            revision: message.revision,
            uid: uid?.unwrap_or_default(),
            labels: labels?,
        })
    }
}

impl From<Port> for v1::Port {
    fn from(port: Port) -> Self {
        Self {
            name: port.name.into(),
            addresses: port.addresses.iter().map(ToString::to_string).collect(),
            mac: if port.mac.is_unset() { String::new() } else { port.mac.to_string() },
            host: port.host.map(Into::into).unwrap_or_default(),
            security_groups: port.groups.into_iter().map(Into::into).collect(),
            limits: limits_message(port.limits),
            identity: port.identity,
            revision: port.revision,
            uid: port.uid.to_string(),
            labels: port.labels.into(),
            etag: String::new(),
        }
    }
}

impl FromMessage for Host {
    type Message = v1::Host;

    fn read(message: v1::Host, fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text("name", &message.name);
        let labels = fields.labels(message.labels);
        let underlay = fields.ipv4("underlay_address", &message.underlay_address);
        let zone = fields.optional_text("zone", &message.zone);
        let state = host_state(message.state, fields);
        Some(Self {
            name: name?,
            underlay: underlay?,
            zone: zone?,
            zone_index: message.zone_index,
            state: state?,
            index: message.index,
            revision: message.revision,
            labels: labels?,
        })
    }
}

fn host_state(number: i32, fields: &mut Fields<'_>) -> Option<HostState> {
    match v1::HostState::try_from(number) {
        Ok(v1::HostState::Unspecified) => Some(HostState::Unset),
        Ok(v1::HostState::Active) => Some(HostState::Active),
        Ok(v1::HostState::Draining) => Some(HostState::Draining),
        Ok(v1::HostState::Fenced) => Some(HostState::Fenced),
        Err(_) => fields.refuse("state", number, "it is active (1), draining (2) or fenced (3)", "write one of them"),
    }
}

impl From<Host> for v1::Host {
    fn from(host: Host) -> Self {
        Self {
            name: host.name.into(),
            underlay_address: host.underlay.to_string(),
            zone: host.zone.map(Into::into).unwrap_or_default(),
            zone_index: host.zone_index,
            state: match host.state {
                HostState::Unset => v1::HostState::Unspecified,
                HostState::Active => v1::HostState::Active,
                HostState::Draining => v1::HostState::Draining,
                HostState::Fenced => v1::HostState::Fenced,
            }
            .into(),
            index: host.index,
            revision: host.revision,
            labels: host.labels.into(),
            etag: String::new(),
        }
    }
}

impl FromMessage for Vtep {
    type Message = v1::Vtep;

    fn read(message: v1::Vtep, fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text("name", &message.name);
        let labels = fields.labels(message.labels);
        let underlay = fields.ipv4("underlay_address", &message.underlay_address);
        let mac = fields.text("mac", &message.mac);
        let prefixes = fields.texts("prefixes", &message.prefixes);
        let zone = fields.optional_text("zone", &message.zone);
        Some(Self {
            name: name?,
            underlay: underlay?,
            zone: zone?,
            zone_index: message.zone_index,
            mac: mac?,
            prefixes,
            index: message.index,
            revision: message.revision,
            labels: labels?,
        })
    }
}

impl From<Vtep> for v1::Vtep {
    fn from(vtep: Vtep) -> Self {
        Self {
            name: vtep.name.into(),
            underlay_address: vtep.underlay.to_string(),
            mac: vtep.mac.to_string(),
            prefixes: vtep.prefixes.iter().map(ToString::to_string).collect(),
            zone: vtep.zone.map(Into::into).unwrap_or_default(),
            zone_index: vtep.zone_index,
            index: vtep.index,
            revision: vtep.revision,
            labels: vtep.labels.into(),
            etag: String::new(),
        }
    }
}

impl FromMessage for Resource {
    type Message = v1::Resource;

    fn read(message: v1::Resource, fields: &mut Fields<'_>) -> Option<Self> {
        let Some(kind) = message.kind else {
            return fields.refuse(
                "kind",
                "",
                "a resource is a tenant, network, subnet, port, security_group, host, vtep, prefix_list, operator_policy or zone",
                "set exactly one of them",
            );
        };
        match kind {
            Kind::Tenant(tenant) => Tenant::read(tenant, &mut fields.inside("tenant")).map(Self::Tenant),
            Kind::Network(network) => Network::read(network, &mut fields.inside("network")).map(Self::Network),
            Kind::Subnet(subnet) => Subnet::read(subnet, &mut fields.inside("subnet")).map(Self::Subnet),
            Kind::Port(port) => Port::read(port, &mut fields.inside("port")).map(Self::Port),
            Kind::SecurityGroup(group) => {
                SecurityGroup::read(group, &mut fields.inside("security_group")).map(Self::SecurityGroup)
            }
            Kind::Host(host) => Host::read(host, &mut fields.inside("host")).map(Self::Host),
            Kind::Vtep(vtep) => Vtep::read(vtep, &mut fields.inside("vtep")).map(Self::Vtep),
            Kind::PrefixList(list) => PrefixList::read(list, &mut fields.inside("prefix_list")).map(Self::PrefixList),
            Kind::Zone(zone) => Zone::read(zone, &mut fields.inside("zone")).map(Self::Zone),
            Kind::OperatorPolicy(policy) => {
                OperatorPolicy::read(policy, &mut fields.inside("operator_policy")).map(Self::OperatorPolicy)
            }
        }
    }
}

impl From<Resource> for v1::Resource {
    fn from(resource: Resource) -> Self {
        let kind = match resource {
            Resource::Zone(zone) => Kind::Zone(zone.into()),
            Resource::Tenant(tenant) => Kind::Tenant(tenant.into()),
            Resource::Network(network) => Kind::Network(network.into()),
            Resource::Subnet(subnet) => Kind::Subnet(subnet.into()),
            Resource::Port(port) => Kind::Port(port.into()),
            Resource::SecurityGroup(group) => Kind::SecurityGroup(group.into()),
            Resource::Host(host) => Kind::Host(host.into()),
            Resource::Vtep(vtep) => Kind::Vtep(vtep.into()),
            Resource::PrefixList(list) => Kind::PrefixList(list.into()),
            Resource::OperatorPolicy(policy) => Kind::OperatorPolicy(policy.into()),
        };
        Self { kind: Some(kind) }
    }
}
