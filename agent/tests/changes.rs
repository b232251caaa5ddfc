//! What changes under a running agent: its host, its ports, its own store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use andromede_proto::{
    agent::v1::{NetworkDelta, Update},
    v1::{Port, Resource, Rule, SecurityGroup, resource::Kind, rule::Remote},
};
use andromede_testkit::Namespace;
use common::{
    PATIENCE,
    machine::{Machine, ready},
    views::{NETWORK, other_rules, port, rule, snapshot, without_b},
};
use nix::sys::signal::Signal;
use tokio::time::timeout;
use tonic::Code;

fn pings(from: &Namespace) -> bool {
    from.exec("ping -n -W 1 -c 1 10.0.0.11").is_ok()
}

fn written(revision: u64, kind: Kind) -> Update {
    let written = vec![Resource { kind: Some(kind) }];
    let delta = NetworkDelta { network: NETWORK.to_owned(), written, ..NetworkDelta::default() };
    Update { revision, deltas: vec![delta], ..Update::default() }
}

/// The rules of the only group: with or without echo requests.
fn rules(revision: u64, echo: bool) -> Update {
    let mut rules = vec![rule("ping6", "icmpv6", 1025)];
    rules.extend(echo.then(|| rule("ping", "icmp", 1024)));
    written(
        revision,
        Kind::SecurityGroup(SecurityGroup {
            name: format!("{NETWORK}/securityGroups/g"),
            rules,
            revision,
            ..SecurityGroup::default()
        }),
    )
}

/// The programs know their host's interfaces: when these change, they are loaded anew by the process that holds their pins.
#[tokio::test(flavor = "multi_thread")]
async fn rules_still_change_after_the_host_has_changed() {
    let (machine, mut session) = ready("auto").await;
    let (a, _) = machine.attach("a").await;
    let (_b, _) = machine.attach("b").await;
    assert!(pings(&a));
    let changes = ["link set up0 mtu 1550", "link set up0 address 02:00:00:00:aa:01", "link delete amd-vxlan"];
    for (revision, change) in (2..).step_by(2).zip(changes) {
        machine.namespace.ip(change).unwrap();
        let loads = |log: &str| log.matches("programs loaded").count();
        let expected = usize::try_from(revision / 2).unwrap() + 1;
        machine.until(change, |status| loads(&machine.log()) >= expected && status.error.is_empty()).await;
        assert!(pings(&a), "{change}");
        for (revision, echo) in [(revision, false), (revision + 1, true)] {
            session.update(rules(revision, echo)).await;
            let applied = timeout(PATIENCE, session.applied(revision)).await;
            applied.unwrap_or_else(|_| panic!("after {change}: {}", machine.log()));
            assert_eq!(pings(&a), echo, "{change}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_comes_back_is_another_one() {
    let (machine, mut session) = ready("auto").await;
    let (a, _) = machine.attach("a").await;
    let (b, _) = machine.attach("b").await;
    session.update(without_b(2)).await;
    timeout(PATIENCE, session.applied(2)).await.unwrap();
    session.update(written(3, Kind::Port(port("b", 11, "hosts/h1")))).await;
    timeout(PATIENCE, session.applied(3)).await.unwrap();
    assert!(!pings(&a));
    assert!(b.exec("ip link show dev eth0").is_err());
    let (_new, _) = machine.attach("b").await;
    assert!(pings(&a));
}

/// Deleted and created anew while the agent was away, told as one change: by its uid alone it is another port.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_was_made_anew_meanwhile_is_another_one() {
    for lose_the_list in [false, true] {
        let (mut machine, session) = ready("auto").await;
        let (a, _) = machine.attach("a").await;
        let (b, _) = machine.attach("b").await;
        assert!(pings(&a));
        machine.end(Signal::SIGTERM);
        drop(session);
        if lose_the_list {
            // Then the interface's alias says whose it is.
            std::fs::remove_file(machine.folder.path().join("state/attachments")).unwrap();
        }
        machine.start().await;
        let mut session = machine.session().await;
        assert!(pings(&a), "nothing has changed yet");
        let anew = Port { uid: "1-2".to_owned(), ..port("b", 11, "hosts/h1") };
        session.update(written(2, Kind::Port(anew))).await;
        timeout(PATIENCE, session.applied(2)).await.unwrap();
        machine
            .until("the old workload is unplugged", |status| {
                status.ports.iter().filter(|port| port.attached).count() == 1
            })
            .await;
        assert!(!pings(&a), "the list was lost: {lose_the_list}");
        assert!(b.exec("ip link show dev eth0").is_err());
        assert_eq!(machine.port_rows().len(), 1);
        let (_new, _) = machine.attach("b").await;
        assert!(pings(&a));
    }
}

/// Addresses and Ethernet address of a port that is attached: the interface follows.
#[tokio::test(flavor = "multi_thread")]
async fn an_interface_becomes_what_its_port_becomes() {
    let (machine, mut session) = ready("auto").await;
    let (a, _) = machine.attach("a").await;
    let (b, interface) = machine.attach("b").await;
    assert!(pings(&a));
    let text = |line: &str| String::from_utf8(b.exec(line).unwrap().stdout).unwrap();
    let index = text("cat /sys/class/net/eth0/ifindex");
    let other = Port {
        addresses: vec!["10.0.0.12".to_owned(), "10.0.0.13".to_owned(), "fd00:10::11".to_owned()],
        mac: "02:00:00:00:00:77".to_owned(),
        ..port("b", 11, "hosts/h1")
    };
    session.update(written(2, Kind::Port(other))).await;
    timeout(PATIENCE, session.applied(2)).await.unwrap();
    machine.until("the interface is changed", |_| machine.log().contains("interface brought to what")).await;
    let shown = text("ip address show dev eth0");
    for expected in ["10.0.0.12/24", "10.0.0.13/24", "fd00:10::11/64", "02:00:00:00:00:77"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(!shown.contains("10.0.0.11"), "{shown}");
    assert!(text("ip route").contains("default via 10.0.0.1"));
    assert_eq!(text("cat /sys/class/net/eth0/ifindex"), index, "the same interface");
    machine.namespace.ip(&format!("link show dev {interface}")).unwrap();
    for to in ["10.0.0.12", "10.0.0.13", "fd00:10::11"] {
        a.exec(&format!("ping -n -W 1 -c 1 {to}")).unwrap();
    }
    assert!(!pings(&a), "the old address is nobody's");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_of_somebody_else_is_left_alone() {
    let (machine, _session) = ready("auto").await;
    let name = andromede_agent::host::interface_name::host_side(&format!("{NETWORK}/ports/a"));
    machine.namespace.ip(&format!("link add {name} type veth peer name other")).unwrap();
    machine.namespace.ip(&format!("link set {name} up")).unwrap();
    let workload = Namespace::new().unwrap();
    let refused = machine.try_attach("a", &workload, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains(&format!("ip link delete {name}")), "{refused}");
    machine.namespace.ip(&format!("link set {name} down")).unwrap();
    machine.namespace.exec(&format!("ip link set {name} alias theirs")).unwrap();
    assert!(machine.try_attach("a", &workload, "").await.is_err());
    machine.namespace.ip(&format!("link show dev {name}")).unwrap();
}

fn spoil(machine: &Machine) {
    let path = machine.folder.path().join("state/networks/t.n.view");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_network_that_cannot_be_read_stay_until_it_is_told() {
    let (mut machine, session) = ready("auto").await;
    let (a, _) = machine.attach("a").await;
    let (_b, _) = machine.attach("b").await;
    machine.end(Signal::SIGTERM);
    drop(session);
    spoil(&machine);
    // Twice: the file was set aside at the first start.
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        machine.start().await;
        let _silent = machine.session().await;
        machine.until("the loss is told", |status| status.error.contains("cannot be read")).await;
        assert_eq!(machine.port_rows().len(), 2);
        assert!(pings(&a));
        machine.end(signal);
    }
    machine.start().await;
    let mut session = machine.session().await;
    session.update(snapshot(2)).await;
    timeout(PATIENCE, session.applied(2)).await.unwrap();
    session.update(other_rules(3)).await;
    timeout(PATIENCE, session.applied(3)).await.unwrap();
    assert!(pings(&a));
    assert_eq!(machine.port_rows().len(), 2);
}

/// What no controller of today lets be: a host that is told it all the same keeps what it runs, and says what does not fit.
#[tokio::test(flavor = "multi_thread")]
async fn rules_that_do_not_fit_leave_everything_as_it_was() {
    let (machine, mut session) = ready("auto").await;
    let (a, _) = machine.attach("a").await;
    let (_b, _) = machine.attach("b").await;
    assert!(pings(&a));
    let nested = |number: u16| format!("{}-{}", 1 + number, 65_534 - number);
    let wide = |number: u16| Rule {
        ports: (0..64).map(|range| nested(64 * number % 30_000 + range)).collect(),
        remote: Some(Remote::RemoteCidr(format!("10.{}.{}.0/24", number / 250, number % 250))),
        ..rule(&format!("r{number}"), "tcp", 2_000 + u32::from(number))
    };
    let name = format!("{NETWORK}/securityGroups/g");
    let group = SecurityGroup { name, rules: (0..1_000).map(wide).collect(), revision: 2, ..SecurityGroup::default() };
    session.update(written(2, Kind::SecurityGroup(group))).await;
    let told = |error: &str| error.contains(NETWORK) && error.contains("mentions of rules in classes would have");
    machine.until("it says what does not fit", |status| told(&status.error)).await;
    assert!(pings(&a), "the rules before are in force");
    // What fits again is in force again.
    session.update(rules(3, false)).await;
    timeout(PATIENCE, session.applied(3)).await.unwrap_or_else(|_| panic!("{}", machine.log()));
    machine.until("nothing is wrong any more", |status| status.error.is_empty()).await;
    assert!(!pings(&a));
}
