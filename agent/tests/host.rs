//! The agent's program on a host of its own: workloads, restarts, repairs, the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::{path::PathBuf, time::Duration};

use andromede_abi::DropReason;
use andromede_dataplane::{Sizes, Tables};
use andromede_proto::{
    agent::v1::{Identity, NetworkDelta, NetworkView, Update},
    local::v1::{
        AttachPortRequest, DetachPortRequest, GetHostStatusRequest, GetHostStatusResponse,
        local_service_client::LocalServiceClient,
    },
    v1::{
        Action, Direction, Host, ListDropsRequest, ListFlowsRequest, Network, Port, Resource, Rule, SecurityGroup,
        Subnet, resource::Kind,
    },
};
use andromede_testkit::{Namespace, Process, pins::Pins, requires};
use common::{PATIENCE, Session};
use nix::sys::signal::Signal;
use tokio::{
    net::{TcpListener, UnixStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

const NETWORK: &str = "tenants/t/networks/n";

/// A host with an uplink, an agent, and the controller that the test plays.
struct Machine {
    process: Option<Process>,
    sessions: mpsc::Receiver<Session>,
    url: String,
    attachment: &'static str,
    namespace: Namespace,
    _other: Namespace,
    pins: Pins,
    folder: tempfile::TempDir,
}

impl Machine {
    async fn new(attachment: &'static str) -> Self {
        requires::require(&["ip", "tc", "ping"]).unwrap();
        let (namespace, other) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        andromede_testkit::namespace::veth(&namespace, "up0", &other, "up0", 1600).unwrap();
        namespace.ip("address add 192.0.2.1/24 dev up0").unwrap();
        let listener = namespace.run(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, sessions) = mpsc::channel(8);
        tokio::spawn(common::serve(listener, sender));
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bpf")).unwrap();
        let pins = Pins::new(&folder.path().join("bpf")).unwrap();
        let mut machine = Self { process: None, sessions, url, attachment, namespace, _other: other, pins, folder };
        machine.start().await;
        machine
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    fn command(&self, verb: &str) -> std::process::Command {
        let mut command = self.namespace.command(env!("CARGO_BIN_EXE_andromede-agent"));
        self.pins.enter(&mut command);
        command.arg(verb).args(["--instance", "test"]);
        command.arg("--bpffs").arg(self.folder.path().join("bpf"));
        command.arg("--state").arg(self.folder.path().join("state"));
        command
    }

    async fn start(&mut self) {
        let mut command = self.command("run");
        command.args(["--host", "h1", "--controller", &self.url, "--insecure-plaintext", "--underlay", "up0"]);
        command.arg("--socket").arg(self.socket()).args(["--attachment", self.attachment, "--small-tables"]);
        self.process = Some(Process::start(command, &self.folder.path().join("log")).unwrap());
        let answers = async {
            while self.try_status().await.is_none() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, answers).await.unwrap_or_else(|_| panic!("no answer: {}", self.log()));
    }

    fn log(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }

    fn end(&mut self, signal: Signal) {
        self.process.take().unwrap().end(signal).unwrap();
    }

    async fn session(&mut self) -> Session {
        let session = timeout(PATIENCE, self.sessions.recv()).await;
        let mut session = session.unwrap_or_else(|_| panic!("the agent does not dial: {}", self.log())).unwrap();
        session.hello().await;
        session.welcome(1).await;
        session
    }

    async fn client(&self) -> Option<LocalServiceClient<Channel>> {
        let path = self.socket();
        let connect = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await.ok()?;
        Some(LocalServiceClient::new(channel))
    }

    async fn try_status(&self) -> Option<GetHostStatusResponse> {
        Some(self.client().await?.get_host_status(GetHostStatusRequest {}).await.ok()?.into_inner())
    }

    async fn status(&self) -> GetHostStatusResponse {
        self.try_status().await.unwrap_or_else(|| panic!("no status: {}", self.log()))
    }

    async fn until(&self, what: &str, ready: impl Fn(&GetHostStatusResponse) -> bool) {
        for _ in 0..200 {
            if ready(&self.status().await) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("{what} never came: {:#?}\n{}", self.status().await, self.log());
    }

    async fn try_attach(&self, port: &str, workload: &Namespace, interface: &str) -> Result<String, tonic::Status> {
        let request = AttachPortRequest {
            port: format!("{NETWORK}/ports/{port}"),
            netns: workload.path().display().to_string(),
            interface: interface.to_owned(),
        };
        Ok(self.client().await.unwrap().attach_port(request).await?.into_inner().host_interface)
    }

    async fn attach(&self, port: &str) -> (Namespace, String) {
        let workload = Namespace::new().unwrap();
        let attached = self.try_attach(port, &workload, "").await;
        let interface = attached.unwrap_or_else(|status| panic!("{status}\n{}", self.log()));
        (workload, interface)
    }

    /// Interfaces that have a port row.
    fn port_rows(&self) -> Vec<u32> {
        let read = || {
            let pins = andromede_dataplane::Pins::new(&self.folder.path().join("bpf"), &"test".parse().unwrap());
            let tables = Tables::open(&pins, &Sizes::small()).unwrap();
            tables.ports.all().unwrap().into_iter().map(|(ifindex, _)| ifindex).collect()
        };
        self.pins.run(read).unwrap()
    }
}

fn port(name: &str, number: u8, host: &str) -> Port {
    Port {
        name: format!("{NETWORK}/ports/{name}"),
        addresses: vec![format!("10.0.0.{number}"), format!("fd00:10::{number}")],
        mac: format!("02:00:00:00:00:{number:02x}"),
        host: host.to_owned(),
        security_groups: vec![format!("{NETWORK}/securityGroups/g")],
        identity: 1,
        revision: 1,
    }
}

fn rule(name: &str, protocol: &str, number: u32) -> Rule {
    Rule {
        name: name.to_owned(),
        direction: Direction::Ingress.into(),
        action: Action::Allow.into(),
        priority: 1000,
        protocol: protocol.to_owned(),
        number,
        ..Rule::default()
    }
}

/// Two ports on this host, each of which may ping the other.
fn snapshot(revision: u64) -> Update {
    let group = format!("{NETWORK}/securityGroups/g");
    let subnet = |name: &str, cidr: &str, gateway: &str| Subnet {
        name: format!("{NETWORK}/subnets/{name}"),
        cidr: cidr.to_owned(),
        gateway: gateway.to_owned(),
        revision: 1,
    };
    let view = NetworkView {
        network: Some(Network { name: NETWORK.to_owned(), vni: 100, mtu: 0, index: 1, revision: 1 }),
        subnets: vec![subnet("v4", "10.0.0.0/24", "10.0.0.1"), subnet("v6", "fd00:10::/64", "fd00:10::1")],
        ports: vec![port("a", 10, "hosts/h1"), port("b", 11, "hosts/h1")],
        security_groups: vec![SecurityGroup {
            name: group.clone(),
            rules: vec![rule("ping", "icmp", 1024), rule("ping6", "icmpv6", 1025)],
            revision: 1,
        }],
        hosts: vec![Host {
            name: "hosts/h1".to_owned(),
            underlay_address: "192.0.2.1".to_owned(),
            index: 3,
            revision: 1,
            ..Host::default()
        }],
        identities: vec![Identity { number: 1, security_groups: vec![group] }],
        ..NetworkView::default()
    };
    Update { revision, snapshots: vec![view], ..Update::default() }
}

/// Port `b` is no longer on this host.
fn without_b(revision: u64) -> Update {
    let moved = Resource { kind: Some(Kind::Port(port("b", 11, "hosts/h2"))) };
    let other = Host {
        name: "hosts/h2".to_owned(),
        underlay_address: "192.0.2.2".to_owned(),
        index: 4,
        revision: 2,
        ..Host::default()
    };
    let other = Resource { kind: Some(Kind::Host(other)) };
    let delta = NetworkDelta { network: NETWORK.to_owned(), written: vec![other, moved], ..NetworkDelta::default() };
    Update { revision, deltas: vec![delta], ..Update::default() }
}

fn pings(from: &Namespace, arguments: &str) -> bool {
    from.exec(&format!("ping -n -W 1 {arguments}")).is_ok()
}

async fn ready(attachment: &'static str) -> (Machine, Session) {
    let mut machine = Machine::new(attachment).await;
    let mut session = machine.session().await;
    session.update(snapshot(1)).await;
    let applied = timeout(PATIENCE, session.applied(1)).await;
    applied.unwrap_or_else(|_| panic!("revision 1 is not applied: {}", machine.log()));
    (machine, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_come_and_go() {
    let (machine, session) = ready("auto").await;
    let (a, outer) = machine.attach("a").await;
    let (b, _) = machine.attach("b").await;
    assert!(pings(&a, "-c 1 10.0.0.11") && pings(&a, "-6 -c 1 fd00:10::11") && pings(&b, "-c 1 10.0.0.10"));
    // Again: nothing changes. Elsewhere: refused.
    assert_eq!(machine.try_attach("a", &a, "").await.unwrap(), outer);
    assert_eq!(machine.try_attach("a", &b, "").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(machine.try_attach("a", &a, "eth1").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(machine.try_attach("c", &a, "").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(machine.try_attach("a", &a, "a/b").await.unwrap_err().code(), Code::InvalidArgument);

    let mut client = machine.client().await.unwrap();
    let flows = client.list_flows(ListFlowsRequest { network: NETWORK.to_owned(), ..Default::default() }).await;
    let flows = flows.unwrap().into_inner().flows;
    let ping = flows.iter().find(|flow| flow.initiator == "10.0.0.10" && flow.answerer == "10.0.0.11");
    let ping = ping.unwrap_or_else(|| panic!("no such connection: {flows:#?}"));
    assert_eq!((ping.network.as_str(), ping.ingress_rule.as_str(), ping.remote.as_str()), (NETWORK, "g/ping", "local"));

    // A refusal has a name, and is told.
    let _ = a.exec("timeout 1 nc -z -w 1 10.0.0.11 80");
    let refused = DropReason::IngressRule.name();
    let drops = client.list_drops(ListDropsRequest::default()).await.unwrap().into_inner();
    let count = drops.counts.iter().find(|count| count.reason == refused);
    let count = count.unwrap_or_else(|| panic!("no such counter: {drops:#?}"));
    assert_eq!((count.network.as_str(), count.rule.as_str()), (NETWORK, "default-ingress"));
    assert!(drops.recent.iter().any(|event| event.reason == refused && event.destination_port == 80), "{drops:#?}");

    // The port moves away: its row goes at once, its interface stays until it is detached.
    session.update(without_b(2)).await;
    machine.until("the port's row goes", |_| machine.port_rows().len() == 1).await;
    assert!(!pings(&a, "-c 1 10.0.0.11"));
    let request = DetachPortRequest { port: format!("{NETWORK}/ports/b") };
    client.detach_port(request.clone()).await.unwrap();
    client.detach_port(request).await.unwrap();
    assert!(!String::from_utf8(b.exec("ip link").unwrap().stdout).unwrap().contains("eth0"));

    // The namespace takes its interface along: the row goes too.
    drop(a);
    machine.until("the row of a vanished interface goes", |_| machine.port_rows().is_empty()).await;
    drop(session);
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_outlives_the_agent_and_needs_no_controller() {
    let (mut machine, session) = ready("auto").await;
    let (a, _) = machine.attach("a").await;
    let (_b, _) = machine.attach("b").await;
    drop(session);
    let pinging = a.spawn(|| {
        let output = std::process::Command::new("ping").args("-n -q -i 0.01 -c 400 10.0.0.11".split(' ')).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    });
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        sleep(Duration::from_millis(500)).await;
        machine.end(signal);
        sleep(Duration::from_millis(300)).await;
        // Nobody welcomes it: it programs the host from its own store.
        machine.start().await;
        machine
            .until("a host programmed from the store", |status| {
                status.applied_revision == 1 && status.error.is_empty() && status.ports.iter().all(|port| port.attached)
            })
            .await;
    }
    let said = pinging.join().unwrap().unwrap();
    assert!(said.contains("400 received") && said.contains(" 0% packet loss"), "{said}");
    assert_eq!(machine.port_rows().len(), 2);
}

/// The rules change in a way that concerns nobody, so that a pass has something to write.
fn other_rules(revision: u64) -> Update {
    let mut rules = vec![rule("ping", "icmp", 1024), rule("ping6", "icmpv6", 1025)];
    for number in 0..u32::try_from(revision % 7).unwrap() {
        let ports = vec![format!("{}", 1000 + number)];
        rules.push(Rule { ports, ..rule(&format!("tcp{number}"), "tcp", 1030 + number) });
    }
    let group = SecurityGroup { name: format!("{NETWORK}/securityGroups/g"), rules, revision };
    let written = vec![Resource { kind: Some(Kind::SecurityGroup(group)) }];
    let delta = NetworkDelta { network: NETWORK.to_owned(), written, ..NetworkDelta::default() };
    Update { revision, deltas: vec![delta], ..Update::default() }
}

/// The agent is killed at any moment, mostly while it loads programs or writes tables, and not one packet is lost.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: a hundred kills, a minute and a half"]
async fn a_hundred_kills_lose_nothing() {
    let (mut machine, session) = ready("auto").await;
    let (a, _) = machine.attach("a").await;
    let (_b, _) = machine.attach("b").await;
    drop(session);
    let log = machine.folder.path().join("ping");
    let mut command = a.command("ping");
    command.args("-n -q -i 0.005 10.0.0.11".split(' '));
    let mut ping = Process::start(command, &log).unwrap();
    machine.end(Signal::SIGKILL);
    for kill in 0..100_u64 {
        machine.start().await;
        let session = machine.session().await;
        session.update(other_rules(kill + 2)).await;
        sleep(Duration::from_millis(kill * 37 % 700)).await;
        machine.end(Signal::SIGKILL);
    }
    ping.end(Signal::SIGINT).unwrap();
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains(" 0% packet loss"), "{said}");
    println!("{said}");
    machine.start().await;
    let mut session = machine.session().await;
    timeout(PATIENCE, session.applied(101)).await.unwrap();
    assert_eq!(machine.port_rows().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_somebody_deleted_is_put_back() {
    let (machine, _session) = ready("clsact").await;
    let (a, outer) = machine.attach("a").await;
    let (_b, _) = machine.attach("b").await;
    assert!(pings(&a, "-c 1 10.0.0.11"));
    machine.namespace.exec(&format!("tc qdisc del dev {outer} clsact")).unwrap();
    let show = |side: &str| {
        let shown = machine.namespace.exec(&format!("tc filter show dev {outer} {side}"));
        shown.map(|output| String::from_utf8(output.stdout).unwrap()).unwrap_or_default()
    };
    let whole = |_: &GetHostStatusResponse| {
        show("ingress").contains("from_workload")
            && show("ingress").contains("65000")
            && show("egress").contains("from_host")
    };
    machine.until("the repair", whole).await;
    assert!(pings(&a, "-c 1 10.0.0.11"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cleanup_leaves_nothing() {
    let (mut machine, session) = ready("auto").await;
    let (a, _) = machine.attach("a").await;
    let refused = machine.command("cleanup").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("in use by another agent"), "{said}");
    drop(session);
    machine.end(Signal::SIGTERM);
    let done = machine.command("cleanup").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let links = String::from_utf8(machine.namespace.exec("ip -o link").unwrap().stdout).unwrap();
    assert_eq!(links.lines().count(), 2, "loopback and uplink only: {links}");
    assert!(!String::from_utf8(a.exec("ip link").unwrap().stdout).unwrap().contains("eth0"));
    let left = machine.pins.run(|| std::fs::read_dir(machine.folder.path().join("bpf/andromede")).unwrap().count());
    assert_eq!(left.unwrap(), 0);
    assert!(!machine.folder.path().join("state").exists());
    // Again: nothing to do.
    assert!(machine.command("cleanup").status().unwrap().success());
}
