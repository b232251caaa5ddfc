//! A small fabric, seen from one host: two tenants with the same addresses, each with two ports here, one on another host,
//! and a prefix behind a foreign tunnel endpoint. Its rows come from the true plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use andromede_abi::{HostConfig, maps};
use andromede_model::{Admitted, Model, NetworkName, NetworkView, PortName, Resource};
use andromede_plan::{Attachment, Attachments, HostFacts, Infrastructure, Rows, Wanted, compile};
use andromede_proto::{convert, document};
use andromede_testkit::{Namespace, packet::Mac};
use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};

/// Index of the underlay interface.
pub const UNDERLAY_IFINDEX: u32 = 5;
/// Names of both tenants.
const TENANTS: [&str; 2] = ["red", "blue"];

/// One end of conversations: the last byte of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End(pub u8);

/// A port of this host.
pub const END_LOCAL_A: End = End(1);
/// Another port of this host.
pub const END_LOCAL_B: End = End(2);
/// A port of another host.
pub const END_REMOTE: End = End(3);
/// Behind the foreign tunnel endpoint.
pub const END_VTEP: End = End(200);
/// What the node knows the first local port of the second tenant by: a port of the first tenant, without an interface.
pub const END_INFRASTRUCTURE: End = End(5);
/// The node itself, which the first local port of each network may talk to.
pub const END_NODE: End = End(100);

impl End {
    /// Ethernet address: the same in both networks, which may be so.
    pub const fn mac(self) -> Mac {
        [2, 0, 0, 0, 0, self.0]
    }

    /// IPv4 address.
    pub const fn v4(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, self.0)
    }

    /// IPv6 address.
    pub const fn v6(self) -> std::net::Ipv6Addr {
        std::net::Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, self.0 as u16)
    }
}

/// The model and what one host has of it.
pub struct SmallFabric {
    model: Model,
    facts: HostFacts,
    attachments: Attachments,
    rows: Rows,
}

impl SmallFabric {
    /// The fabric as it is at first.
    pub fn new() -> Result<Self> {
        let mut resources = vec![host(1), host(2)];
        for tenant in TENANTS {
            resources.extend(tenant_resources(tenant));
        }
        let mut model = Model::default();
        write(&mut model, resources)?;
        let mut attachments = BTreeMap::new();
        for (network, tenant) in TENANTS.iter().enumerate() {
            for end in [END_LOCAL_A, END_LOCAL_B] {
                let name: PortName = port_name(tenant, end).parse()?;
                attachments.insert(name, attachment(network, end)?);
            }
        }
        let here = model.host(&"hosts/h1".parse()?).context("host h1")?.index;
        let facts = HostFacts {
            host: here,
            underlay: Ipv4Addr::new(192, 0, 2, 1),
            underlay_ifindex: UNDERLAY_IFINDEX,
            gateways: BTreeMap::new(),
            addresses: [END_NODE.v4().into(), END_NODE.v6().into()].into(),
            flow_rows: maps::FLOWS.rows,
            // Two networks, of which one has a meter.
            meters: [(1, 7)].into(),
        };
        let mut fabric = Self { model, facts, attachments, rows: Rows::default() };
        fabric.rows = fabric.compile()?;
        Ok(fabric)
    }

    /// The rows as they are now.
    pub const fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The group of servers of a tenant gets these rules; the rows change, and are what [`Self::rows`] then gives.
    pub fn set_rules(&mut self, tenant: &str, rules: &Value) -> Result<()> {
        self.set(vec![group(tenant, "servers", rules)])
    }

    /// The group of clients of a tenant gets these rules.
    pub fn set_client_rules(&mut self, tenant: &str, rules: &Value) -> Result<()> {
        self.set(vec![group(tenant, "clients", rules)])
    }

    /// A group of a tenant gets these rules.
    pub fn set_group(&mut self, tenant: &str, name: &str, rules: &[Value]) -> Result<()> {
        self.set(vec![group(tenant, name, &json!(rules))])
    }

    /// The port of an end moves to a host.
    pub fn set_host(&mut self, tenant: &str, end: End, host: u8) -> Result<()> {
        let name = port_name(tenant, end);
        let documents = tenant_resources(tenant).into_iter().filter(|document| document["name"] == json!(name));
        let moved = documents.map(|mut document| {
            document["host"] = json!(format!("hosts/h{host}"));
            document
        });
        self.set(moved.collect())
    }

    /// Workloads of all ports have an interface here, also of those that are not here yet.
    pub fn attach_everything(&mut self) -> Result<()> {
        for (network, tenant) in TENANTS.iter().enumerate() {
            for end in [END_LOCAL_A, END_LOCAL_B, END_REMOTE] {
                self.attachments.insert(port_name(tenant, end).parse()?, attachment(network, end)?);
            }
        }
        Ok(())
    }

    /// The network of a tenant gets these timeouts.
    pub fn set_timeouts(&mut self, tenant: &str, timeouts: &Value) -> Result<()> {
        let name = format!("tenants/{tenant}/networks/n");
        self.set(vec![json!({"kind": "Network", "name": name, "timeouts": timeouts})])
    }

    /// The number of a rule of a group of a tenant.
    pub fn rule_number(&self, tenant: &str, group: &str, rule: &str) -> Result<u32> {
        let name = format!("tenants/{tenant}/networks/n/securityGroups/{group}").parse()?;
        let group = self.model.get(&name);
        let Some(Resource::SecurityGroup(group)) = group else { bail!("there is no group {name}") };
        let found = group.rules.iter().find(|found| found.name.to_string() == rule);
        found.map(|rule| rule.number).with_context(|| format!("{name} has no rule {rule}"))
    }

    /// The model.
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// Writes documents, as a bundle has them; the rows change, and are what [`Self::rows`] then gives.
    pub fn set(&mut self, documents: Vec<Value>) -> Result<()> {
        write(&mut self.model, documents)?;
        self.rows = self.compile()?;
        Ok(())
    }

    fn compile(&self) -> Result<Rows> {
        Ok(self.wanted(&self.rows)?.rows)
    }

    /// What the host should have, if it has the rows found.
    pub fn wanted(&self, found: &Rows) -> Result<Wanted> {
        Ok(compile(&self.views()?, &self.facts, &self.attachments, found)?)
    }

    /// The same, if somebody told the host that the networks may be in these zones only, and that all hosts are in that zone.
    pub fn wanted_where(&self, found: &Rows, admitted: &BTreeSet<u32>, zone: u32) -> Result<Wanted> {
        let mut views = self.views()?;
        for view in &mut views {
            view.zones = Admitted::Zones(admitted.clone());
            view.hosts.values_mut().for_each(|host| host.zone_index = zone);
        }
        Ok(compile(&views, &self.facts, &self.attachments, found)?)
    }

    fn views(&self) -> Result<Vec<NetworkView>> {
        let view = |tenant: &&str| {
            let name: NetworkName = format!("tenants/{tenant}/networks/n").parse()?;
            self.model.view(&name).context("the network is there")
        };
        TENANTS.iter().map(view).collect()
    }

    /// What the programs know of the host.
    pub fn host_config(&self) -> HostConfig {
        HostConfig {
            host: self.facts.host,
            underlay_v4: u32::from_ne_bytes(self.facts.underlay.octets()),
            underlay_ifindex: UNDERLAY_IFINDEX,
            overlay_ifindex: 6,
            vxlan_port: 4789_u16.to_be(),
            underlay_mac: [2, 0, 0, 0, 1, 1],
            features: 0,
            underlay_mtu: 1550,
        }
    }

    /// A namespace with the interfaces of the host.
    pub fn namespace() -> Result<Namespace> {
        let namespace = Namespace::new()?;
        let mut indices = vec![UNDERLAY_IFINDEX];
        for network in 0..TENANTS.len() {
            indices.extend([ifindex(network, END_LOCAL_A), ifindex(network, END_LOCAL_B)]);
        }
        for index in indices {
            namespace.ip(&format!("link add host{index} index {index} type veth peer name peer{index}"))?;
        }
        Ok(namespace)
    }
}

/// Interface of a local end of a tenant, by the tenant's place.
pub const fn ifindex(network: usize, end: End) -> u32 {
    100 + network as u32 * 10 + end.0 as u32
}

/// Interface of an end of a tenant's network, by the tenant's place.
fn attachment(network: usize, end: End) -> Result<Attachment> {
    let node = end == END_LOCAL_A;
    let known = END_INFRASTRUCTURE;
    let infrastructure = if node && network == 1 {
        Some(Infrastructure { port: port_name(TENANTS[0], known).parse()?, v4: Some(known.v4()), v6: Some(known.v6()) })
    } else {
        None
    };
    Ok(Attachment { ifindex: ifindex(network, end), tap: false, node, infrastructure })
}

fn port_name(tenant: &str, end: End) -> String {
    format!("tenants/{tenant}/networks/n/ports/p{}", end.0)
}

fn host(number: u8) -> Value {
    json!({"kind": "Host", "name": format!("hosts/h{number}"), "underlayAddress": format!("192.0.2.{number}")})
}

fn group(tenant: &str, name: &str, rules: &Value) -> Value {
    json!({"kind": "SecurityGroup", "name": format!("tenants/{tenant}/networks/n/securityGroups/{name}"), "rules": rules})
}

fn tenant_resources(tenant: &str) -> Vec<Value> {
    let network = format!("tenants/{tenant}/networks/n");
    let of = |name: &str| format!("{network}/securityGroups/{name}");
    let port = |end: End, host: &str, groups: &[&str]| {
        json!({
            "kind": "Port", "name": port_name(tenant, end), "host": host,
            "addresses": [end.v4().to_string(), end.v6().to_string()],
            "mac": andromede_testkit::packet::format_mac(end.mac()),
            "securityGroups": groups.iter().map(|name| of(name)).collect::<Vec<_>>(),
        })
    };
    let mut resources = vec![
        json!({"kind": "Tenant", "name": format!("tenants/{tenant}")}),
        json!({"kind": "Network", "name": network.clone()}),
        json!({"kind": "Subnet", "name": format!("{network}/subnets/v4"), "cidr": "10.0.0.0/24", "gateway": "10.0.0.254"}),
        json!({"kind": "Subnet", "name": format!("{network}/subnets/v6"), "cidr": "fd00:10::/64", "gateway": "fd00:10::fe"}),
        json!({"kind": "Vtep", "name": format!("{network}/vteps/foreign"), "underlayAddress": if tenant == "red" { "192.0.2.9" } else { "192.0.2.8" },
            "mac": "02:00:00:00:00:c8", "prefixes": ["10.0.0.192/26", "fd00:10::c0/122"]}),
        group(
            tenant,
            "clients",
            &json!([
                {"name": "no-telnet", "direction": "egress", "action": "deny", "protocol": "tcp", "ports": ["23"], "log": true},
                {"name": "echo", "direction": "ingress", "action": "allow", "protocol": "icmp", "icmpType": 8},
                {"name": "echo6", "direction": "ingress", "action": "allow", "protocol": "icmpv6"},
            ]),
        ),
        group(
            tenant,
            "servers",
            &json!([
                {"name": "web", "direction": "ingress", "action": "allow", "protocol": "tcp", "ports": ["80", "8000-8080"], "remoteGroup": of("clients"), "log": true},
                {"name": "not-from-there", "direction": "ingress", "action": "deny", "priority": 10, "remoteCidr": "10.0.0.3/32", "protocol": "tcp", "ports": ["8040-8050"]},
                {"name": "dns", "direction": "ingress", "action": "allow", "protocol": "udp", "ports": ["53"], "remoteCidr": "10.0.0.0/24"},
                {"name": "all-foreign", "direction": "ingress", "action": "allow", "remoteCidr": "10.0.0.192/26"},
                {"name": "echo", "direction": "ingress", "action": "allow", "protocol": "icmp"},
            ]),
        ),
        port(END_LOCAL_A, "hosts/h1", &["clients"]),
        port(END_LOCAL_B, "hosts/h1", &["servers"]),
        port(END_REMOTE, "hosts/h2", &["clients", "servers"]),
    ];
    if tenant == TENANTS[0] {
        resources.push(port(END_INFRASTRUCTURE, "hosts/h1", &[]));
    }
    resources
}

/// Writes documents, as a bundle has them, into a model.
pub fn write(model: &mut Model, documents: Vec<Value>) -> Result<()> {
    let mut resources: Vec<Resource> = Vec::new();
    for value in documents {
        let message = document::read(&value).map_err(|errors| anyhow!("{value}: {errors:?}"))?;
        resources.extend(convert::resources(vec![message]).map_err(|errors| anyhow!("{value}: {errors:?}"))?);
    }
    let commit = model.prepare(resources, Vec::new()).map_err(|errors| anyhow!("{errors:?}"))?;
    model.commit(&commit)?;
    Ok(())
}
