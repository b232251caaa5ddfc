//! A cluster's groups in the true model, compiled by the true plan, walked by the true pipeline.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use andromede_abi::{DropReason, HostConfig, from_bytes, hook, maps};
use andromede_cluster::{Compiled, ObjectName};
use andromede_model::{
    Host, HostState, Labels, MacAddress, Model, Network, NetworkName, Port, PortLimits, PortName, Residency, Resource,
    Subnet, Tenant, TenantLimits, TenantQuotas, Timeouts, Uid, Vni,
};
use andromede_pipeline::{
    Context, Scratch, TargetKind, decide,
    memory::{Bytes, Tables},
};
use andromede_plan::{Attachment, HostFacts, Rows, compile};
use andromede_testkit::packet::{Ends, Tcp, tcp_flag};

use super::{
    oracle::Opening,
    scene::{Scene, ScenePod},
};

pub(crate) const NETWORK: &str = "tenants/k/networks/pods";

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Passes,
    /// Refused where it comes from.
    Out,
    /// Refused where it goes to.
    In,
}

/// One host with all pods.
pub(crate) struct Fabric {
    tables: Tables,
    macs: Vec<MacAddress>,
}

pub(crate) fn network() -> NetworkName {
    NETWORK.parse().unwrap()
}

fn port_name(pod: &ScenePod) -> PortName {
    format!("{NETWORK}/ports/{}-{}", pod.namespace, pod.name).parse().unwrap()
}

/// What there is without any cluster.
fn base() -> Vec<Resource> {
    let labels = Labels::default;
    let subnet = |id: &str, cidr: &str, gateway: &str| Subnet {
        gateway: gateway.parse().unwrap(),
        ..Subnet::new(format!("{NETWORK}/subnets/{id}").parse().unwrap(), cidr.parse().unwrap())
    };
    vec![
        Tenant {
            name: "tenants/k".parse().unwrap(),
            display_name: String::new(),
            index: 0,
            revision: 0,
            labels: labels(),
            limits: TenantLimits::default(),
            quotas: TenantQuotas::default(),
            residency: Residency::default(),
        }
        .into(),
        Network {
            name: network(),
            vni: Vni::UNSET,
            mtu: None,
            timeouts: Timeouts::default(),
            residency: Residency::default(),
            tenant_index: 0,
            index: 0,
            revision: 0,
            labels: labels(),
        }
        .into(),
        subnet("v4", "192.168.0.0/16", "192.168.255.254").into(),
        subnet("v6", "fd00::/64", "fd00::ffff:ffff").into(),
        Host {
            name: "hosts/h1".parse().unwrap(),
            underlay: Ipv4Addr::new(192, 0, 2, 1),
            zone: None,
            zone_index: 0,
            state: HostState::Unset,
            index: 0,
            revision: 0,
            labels: labels(),
        }
        .into(),
    ]
}

impl Fabric {
    /// With the groups that the crate made of the cluster.
    pub(crate) fn new(scene: &Scene, compiled: &Compiled) -> Self {
        let mut resources = base();
        resources.extend(compiled.groups.values().cloned().map(Resource::from));
        resources.extend(compiled.lists.values().cloned().map(Resource::from));
        for pod in &scene.pods {
            let port = Port {
                name: port_name(pod),
                addresses: vec![pod.address(false), pod.address(true)],
                mac: MacAddress::UNSET,
                host: Some("hosts/h1".parse().unwrap()),
                groups: compiled.members[&ObjectName::new(&pod.namespace, &pod.name)].clone(),
                limits: PortLimits::default(),
                identity: 0,
                revision: 0,
                uid: Uid::UNSET,
                labels: Labels::default(),
            };
            resources.push(port.into());
        }
        let mut model = Model::default();
        let commit = model.prepare(resources, Vec::new()).unwrap();
        model.commit(&commit).unwrap();
        let attachment = |place: usize| Attachment { ifindex: 100 + place as u32, ..Attachment::default() };
        let attachments =
            scene.pods.iter().enumerate().map(|(place, pod)| (port_name(pod), attachment(place))).collect();
        let facts = HostFacts {
            host: model.host(&"hosts/h1".parse().unwrap()).unwrap().index,
            underlay: Ipv4Addr::new(192, 0, 2, 1),
            underlay_ifindex: 5,
            gateways: BTreeMap::new(),
            addresses: BTreeSet::new(),
            flow_rows: maps::FLOWS.rows,
            meters: BTreeMap::new(),
        };
        let view = model.view(&network()).unwrap();
        let rows = compile(&[view], &facts, &attachments, &Rows::default()).unwrap().rows;
        let macs = scene.pods.iter().map(|pod| model.port(&port_name(pod)).unwrap().mac).collect();
        Self { tables: tables(rows), macs }
    }

    /// What becomes of a packet between two pods.
    pub(crate) fn fate(&self, scene: &Scene, opening: Opening) -> Fate {
        let Opening { from, to, v6, protocol, port } = opening;
        let source = (self.macs[from].bytes(), scene.pods[from].address(v6));
        let ends = Ends::new(source, (andromede_model::GATEWAY_MAC.bytes(), scene.pods[to].address(v6)));
        let frame = match protocol {
            6 => ends.tcp(&Tcp::new(40_000, port, tcp_flag::SYN), b""),
            17 => ends.udp(40_000, port, b"payload"),
            132 => ends.sctp(40_000, port, 0, 1),
            other => ends.ip(other, &[0; 24]),
        };
        let blank: HostConfig = from_bytes(&vec![0; size_of::<HostConfig>()]).unwrap();
        let host = HostConfig { host: 1, underlay_mtu: 1_500, vxlan_port: 4789_u16.to_be(), ..blank };
        let context = Context::at(hook::FROM_WORKLOAD, 100 + from as u32, 1, &host);
        let mut scratch = Scratch::EMPTY;
        decide(&Bytes(frame), &context, &self.tables, &mut scratch);
        match (scratch.verdict.target.kind, scratch.verdict.reason) {
            (TargetKind::Deliver, None) => Fate::Passes,
            (TargetKind::Drop, Some(DropReason::EgressRule)) => Fate::Out,
            (TargetKind::Drop, Some(DropReason::IngressRule)) => Fate::In,
            other => panic!("{opening:?}: {other:?}"),
        }
    }
}

fn tables(rows: Rows) -> Tables {
    Tables {
        ports: rows.ports,
        sources: rows.sources,
        locations: rows.locations,
        prefixes: rows.prefixes,
        hosts: rows.hosts,
        members: rows.members,
        networks: rows.networks,
        epochs: rows.epochs,
        policy_identities: rows.policy_identities,
        policy_prefixes: rows.policy_prefixes,
        policy_services: rows.policy_services,
        policy_cells: rows.policy_cells,
        ..Tables::default()
    }
}
