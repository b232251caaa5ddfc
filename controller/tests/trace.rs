//! A packet in words, over the rows that two hosts compiled from what they were told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use andromede_abi::{HostConfig, Pod, bytes_of, maps, maps::Table};
use andromede_model::{NetworkName, NetworkView, PortName};
use andromede_plan::{Attachment, Attachments, HostFacts, Rows, compile};
use andromede_proto::{
    agent::v1::{Answer, NetworkRows, TableRows, agent_message, answer, controller_message, query},
    v1::{
        self, Resource, Rule, TraceRequest, TraceResponse, diagnostics_service_client::DiagnosticsServiceClient,
        resource::Kind, rule::Remote,
    },
};
use support::{
    Controller,
    bundle::{empty_tenant, group_name, host, port_message, tenant},
    host::{Known, Session, said},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const UPLINK: u32 = 2;
const FIRST_PORT: u32 = 100;

fn table<K: Pod, V: Pod>(table: &Table, rows: &BTreeMap<K, V>) -> TableRows {
    let keys = rows.keys().map(|key| bytes_of(key).to_vec()).collect();
    let values = rows.values().map(|value| bytes_of(value).to_vec()).collect();
    TableRows { table: table.name.to_owned(), layout: table.layout, keys, values }
}

fn encode(rows: &Rows, config: HostConfig) -> NetworkRows {
    let tables = vec![
        table(&maps::PORTS, &rows.ports),
        table(&maps::SOURCES, &rows.sources),
        table(&maps::LOCATIONS, &rows.locations),
        table(&maps::PREFIXES, &rows.prefixes),
        table(&maps::HOSTS, &rows.hosts),
        table(&maps::MEMBERS, &rows.members),
        table(&maps::NETWORKS, &rows.networks),
        table(&maps::EPOCHS, &rows.epochs),
        table(&maps::POLICY_IDENTITIES, &rows.policy_identities),
        table(&maps::POLICY_PREFIXES, &rows.policy_prefixes),
        table(&maps::POLICY_SERVICES, &rows.policy_services),
        table(&maps::POLICY_CELLS, &rows.policy_cells),
    ];
    NetworkRows { tables, host_config: bytes_of(&config).to_vec(), now: 1_000_000_000, ..NetworkRows::default() }
}

/// What an agent would answer: the rows of its own view of the network. All ports of the host but `p19` are attached.
fn rows(record: &v1::Host, view: &NetworkView) -> NetworkRows {
    let underlay: Ipv4Addr = record.underlay_address.parse().unwrap();
    let facts = HostFacts {
        host: record.index,
        underlay,
        underlay_ifindex: UPLINK,
        gateways: BTreeMap::default(),
        addresses: BTreeSet::new(),
        flow_rows: 4_096,
        meters: BTreeMap::new(),
    };
    let here = view.ports.values().filter(|port| port.host.as_ref().is_some_and(|host| host.as_str() == record.name));
    let attached = here.filter(|port| port.name.id() != "p19").zip(FIRST_PORT..);
    let attachments: Attachments = attached
        .map(|(port, ifindex)| (PortName::clone(&port.name), Attachment { ifindex, ..Attachment::default() }))
        .collect();
    let wanted = compile(std::slice::from_ref(view), &facts, &attachments, &Rows::default()).unwrap();
    let config = HostConfig {
        host: record.index,
        underlay_v4: u32::from_ne_bytes(underlay.octets()),
        underlay_ifindex: UPLINK,
        overlay_ifindex: UPLINK + 1,
        vxlan_port: 4_789_u16.to_be(),
        underlay_mac: [2, 0, 0, 0, 0, 1],
        features: 0,
        underlay_mtu: 1_500,
    };
    encode(&wanted.rows, config)
}

/// An agent that holds what it is told and answers for its rows.
async fn agent(controller: &Controller, host: &str) {
    let mut session = Session::open(controller.channel().await, Known::default().hello(host)).await.unwrap();
    let record = session.welcome.host.clone().unwrap();
    let mut known = Known::default();
    known.apply(session.update().await);
    session.report(known.revision).await;
    tokio::spawn(async move {
        while let Ok(Some(message)) = session.next().await {
            match message {
                controller_message::Message::Update(update) => known.apply(update),
                controller_message::Message::Query(query) => {
                    let Some(query::Question::NetworkRows(network)) = query.question else { continue };
                    let view = &known.views[&network.parse::<NetworkName>().unwrap()];
                    let answer = Some(answer::Answer::NetworkRows(rows(&record, view)));
                    let answer = Answer { id: query.id, error: String::new(), answer };
                    session.sender.send(said(agent_message::Message::Answer(answer))).await.unwrap();
                }
                controller_message::Message::Welcome(_)
                | controller_message::Message::ClaimAnswer(_)
                | controller_message::Message::NetworkPart(_) => {}
            }
        }
    });
}

fn port(number: u8, host: Option<u8>, groups: &[&str]) -> Resource {
    let mut port = port_message("a", number, host);
    port.addresses.push(format!("fd00:10::{number}"));
    port.security_groups = groups.iter().map(|group| group_name("a", group)).collect();
    Resource { kind: Some(Kind::Port(port)) }
}

fn rule(name: &str, ports: &[&str], action: v1::Action, priority: u32, remote: Option<&str>) -> Rule {
    Rule {
        name: name.to_owned(),
        direction: v1::Direction::Ingress.into(),
        action: action.into(),
        priority,
        protocol: if ports.is_empty() { "icmp".to_owned() } else { "tcp".to_owned() },
        ports: ports.iter().map(|port| (*port).to_owned()).collect(),
        remote: remote.map(|group| Remote::RemoteGroup(group_name("a", group))),
        ..Rule::default()
    }
}

fn group(name: &str, rules: Vec<Rule>) -> Resource {
    Resource {
        kind: Some(Kind::SecurityGroup(v1::SecurityGroup {
            name: group_name("a", name),
            rules,
            ..v1::SecurityGroup::default()
        })),
    }
}

/// p11 (staff) and p13 (no group) on h1; p12 (web) on h2; p18 nowhere; p19 on h2 without a workload.
async fn fabric(controller: &Controller) {
    let mut bundle = empty_tenant("a");
    bundle.push(support::bundle::subnet("a", "six", "fd00:10::/64"));
    bundle.push(tenant("b"));
    let allow = v1::Action::Allow;
    bundle.push(group("staff", vec![]));
    bundle.push(group(
        "server",
        vec![
            v1::Rule { log: true, ..rule("https", &["443"], allow, 1000, Some("staff")) },
            rule("high", &["8000-9000"], allow, 1000, None),
            v1::Rule { log: true, ..rule("not-this", &["8080"], v1::Action::Deny, 500, None) },
            rule("ping", &[], allow, 1000, None),
        ],
    ));
    bundle.extend([host(1), host(2), port(11, Some(1), &["staff"]), port(12, Some(2), &["server"])]);
    bundle.extend([port(13, Some(1), &[]), port(18, None, &[]), port(19, Some(2), &[])]);
    controller.apply(bundle).await.unwrap();
    agent(controller, "h1").await;
    agent(controller, "h2").await;
}

fn request(from: u8, to: &str, protocol: &str, port: u32) -> TraceRequest {
    TraceRequest {
        port: format!("tenants/a/networks/n/ports/p{from}"),
        destination: to.to_owned(),
        protocol: protocol.to_owned(),
        destination_port: port,
        ..TraceRequest::default()
    }
}

async fn trace(controller: &Controller, request: TraceRequest) -> Result<TraceResponse, Status> {
    let mut diagnostics = DiagnosticsServiceClient::new(controller.channel().await);
    Ok(diagnostics.trace(request).await?.into_inner())
}

fn told(response: &TraceResponse) -> String {
    let line = |step: &v1::TraceStep| {
        format!("{} {} {}: {} [{} {}]\n", step.host, step.hook, step.stage, step.text, step.table, step.row)
    };
    response.steps.iter().map(line).collect()
}

#[tokio::test]
async fn a_packet_is_followed_across_hosts_and_the_rule_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    fabric(&controller).await;
    for destination in ["10.0.0.12", "fd00:10::12"] {
        let passed = trace(&controller, request(11, destination, "tcp", 443)).await.unwrap();
        let words = told(&passed);
        println!("{words}");
        assert_eq!((passed.outcome.as_str(), passed.rule.as_str()), ("delivered", "server/https"), "{words}");
        assert!(passed.rule_number >= 1024);
        let hooks: Vec<_> = passed.steps.iter().map(|step| (step.host.as_str(), step.hook.as_str())).collect();
        assert_eq!(hooks.first(), Some(&("hosts/h1", "from_workload")));
        assert_eq!(hooks.last(), Some(&("hosts/h2", "from_underlay")));
        for part in [
            "encapsulated with VNI 4096",
            "192.0.2.1 may send with VNI 4096: it is hosts/h1",
            "allowed by default-egress",
            "allowed by server/https, and logged",
            "delivered to tenants/a/networks/n/ports/p12",
        ] {
            assert!(words.contains(part), "{part:?} is not in\n{words}");
        }
    }
    // ICMP of both families; the rule is for IPv4's.
    assert_eq!(trace(&controller, request(13, "10.0.0.12", "icmp", 0)).await.unwrap().rule, "server/ping");
    let v6 = trace(&controller, request(13, "fd00:10::12", "icmp", 0)).await.unwrap();
    assert_eq!((v6.outcome.as_str(), v6.rule.as_str()), ("dropped", "default-ingress"));
    controller.stop().await;
}

#[tokio::test]
async fn a_drop_has_its_reason_its_rule_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    fabric(&controller).await;
    let spoofed = TraceRequest { source: "10.0.0.77".to_owned(), ..request(11, "10.0.0.12", "tcp", 443) };
    let late = TraceRequest { tcp_flags: ".".to_owned(), ..request(11, "10.0.0.12", "tcp", 443) };
    for (request, reason, rule, remedy) in [
        (
            request(13, "10.0.0.12", "tcp", 443),
            "ingress-rule",
            "default-ingress",
            "(server) the rule {direction: ingress, action: allow, protocol: tcp, ports: [\"443\"], remoteCidr: 10.0.0.13/32}",
        ),
        (
            request(11, "10.0.0.12", "tcp", 8080),
            "ingress-rule",
            "server/not-this",
            "{direction: ingress, action: allow, priority: 499, protocol: tcp, ports: [\"8080\"], remoteGroup: tenants/a/networks/n/securityGroups/staff}",
        ),
        (request(11, "10.0.0.13", "tcp", 80), "ingress-rule", "default-ingress", "p13 has no security group"),
        (request(11, "10.0.0.99", "tcp", 80), "unknown-destination", "", "address"),
        (request(11, "10.0.0.18", "tcp", 80), "unknown-destination", "", "address"),
        (request(11, "10.0.0.19", "tcp", 80), "not-attached", "", "attach"),
        (request(11, "10.0.0.1", "tcp", 80), "no-service", "", "port"),
        (spoofed, "spoofed-source", "", ""),
        (late, "no-connection", "", ""),
    ] {
        let dropped = trace(&controller, request.clone()).await.unwrap();
        let words = told(&dropped);
        let found = (dropped.outcome.as_str(), dropped.reason.as_str(), dropped.rule.as_str());
        assert_eq!(found, ("dropped", reason, rule), "{request:?}\n{words}");
        assert!(!dropped.remedy.is_empty() && dropped.remedy.contains(remedy), "{}", dropped.remedy);
        assert!(words.contains("dropped"), "{words}");
        assert_eq!(words.contains("and logged"), rule == "server/not-this", "{words}");
    }
    controller.stop().await;
}

#[tokio::test]
async fn what_cannot_be_followed_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    fabric(&controller).await;
    for (request, code, part) in [
        (request(77, "10.0.0.12", "tcp", 443), Code::NotFound, "p77 does not exist"),
        (request(18, "10.0.0.12", "tcp", 443), Code::FailedPrecondition, "placed on no host"),
        (request(19, "10.0.0.12", "tcp", 443), Code::FailedPrecondition, "host attach"),
    ] {
        let refused = trace(&controller, request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(part), "{refused}");
    }
    let wrong = trace(&controller, request(11, "here", "tcp", 0)).await.unwrap_err();
    let fields = wrong.get_details_bad_request().unwrap().field_violations;
    assert_eq!(
        fields.iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>(),
        ["destination", "destination_port"]
    );
    controller.apply(vec![host(3), port(14, Some(3), &[])]).await.unwrap();
    let refused = trace(&controller, request(14, "10.0.0.12", "tcp", 443)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("hosts/h3: not connected"), "{refused}");
    controller.stop().await;
}
