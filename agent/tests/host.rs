//! The agent's program on a host of its own: workloads, restarts, repairs, the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use andromede_abi::DropReason;
use andromede_dataplane::Kernel;
use andromede_proto::{
    local::v1::{DetachPortRequest, GetHostStatusResponse},
    v1::{ListDropsRequest, ListFlowsRequest},
};
use andromede_testkit::{
    Namespace, Process,
    traffic::{Outcome, tcp_probe},
};
use common::{
    PATIENCE,
    machine::ready,
    views::{NETWORK, other_rules, without_b},
};
use nix::sys::signal::Signal;
use tokio::time::{sleep, timeout};
use tonic::Code;

fn pings(from: &Namespace, arguments: &str) -> bool {
    from.exec(&format!("ping -n -W 1 {arguments}")).is_ok()
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
    let closed = "10.0.0.11:80".parse().unwrap();
    assert_eq!(tcp_probe(&a, closed, Duration::from_secs(1)).unwrap(), Outcome::Silence);
    let refused = DropReason::IngressRule.name();
    let drops = client.list_drops(ListDropsRequest::default()).await.unwrap().into_inner();
    let count = drops.counts.iter().find(|count| count.reason == refused);
    let count = count.unwrap_or_else(|| panic!("no such counter: {drops:#?}"));
    assert_eq!((count.network.as_str(), count.rule.as_str()), (NETWORK, "default-ingress"));
    assert!(drops.recent.iter().any(|event| event.reason == refused && event.destination_port == 80), "{drops:#?}");

    // The port moves away: its row goes, then its interface. A port that comes back under this name may be another customer's, so
    // the old workload must not be found attached to it. A detach then has nothing to do.
    session.update(without_b(2)).await;
    machine.until("the port's row goes", |_| machine.port_rows().len() == 1).await;
    assert!(!pings(&a, "-c 1 10.0.0.11"));
    machine.until("the workload is unplugged", |status| !status.ports.iter().any(|p| p.port.ends_with("/b"))).await;
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
                // That nobody welcomes it is an error too, after ten seconds.
                let well = status.error.is_empty() || status.error.contains("the controller did not answer");
                status.applied_revision == 1 && well && status.ports.iter().all(|port| port.attached)
            })
            .await;
    }
    let said = pinging.join().unwrap().unwrap();
    assert!(said.contains("400 received") && said.contains(" 0% packet loss"), "{said}");
    assert_eq!(machine.port_rows().len(), 2);
}

/// How often the agent is killed: the number in `ANDROMEDE_KILLS`; a hundred take minutes.
fn kills() -> u64 {
    std::env::var("ANDROMEDE_KILLS").map_or(10, |text| text.parse().expect("ANDROMEDE_KILLS is a number"))
}

/// The agent is killed at any moment: while it starts, loads programs, writes tables, attaches, and when all is done.
#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_lose_nothing() {
    let kills = kills();
    let (mut machine, session) = ready("auto").await;
    let (a, _) = machine.attach("a").await;
    let (_b, _) = machine.attach("b").await;
    drop(session);
    let log = machine.folder.path().join("ping");
    let mut command = a.command("ping");
    command.args("-n -q -i 0.005 10.0.0.11".split(' '));
    let mut ping = Process::start(command, &log).unwrap();
    machine.end(Signal::SIGKILL);

    // How long a start takes that nobody disturbs: kills are spread over that, and a little more.
    let begun = Instant::now();
    machine.launch();
    let mut session = machine.session().await;
    session.update(other_rules(2)).await;
    timeout(PATIENCE, session.applied(2)).await.unwrap();
    let whole = begun.elapsed();
    machine.end(Signal::SIGKILL);
    for kill in 0..kills {
        let begun = Instant::now();
        let moment = whole * u32::try_from(kill * 37 % 110).unwrap() / 100;
        machine.launch();
        // The session is told of a change if the agent lives long enough to ask.
        if let Ok(session) = timeout(moment, machine.session()).await {
            session.update(other_rules(kill + 3)).await;
            sleep(moment.saturating_sub(begun.elapsed())).await;
        }
        machine.end(Signal::SIGKILL);
    }
    ping.end(Signal::SIGINT).unwrap();
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains(" 0% packet loss"), "{said}");
    println!("{kills} kills within {whole:?} of a start\n{said}");
    machine.start().await;
    let mut session = machine.session().await;
    session.update(other_rules(kills + 3)).await;
    timeout(PATIENCE, session.applied(kills + 3)).await.unwrap();
    assert_eq!(machine.port_rows().len(), 2);
}

/// The programs of new workloads are filters, and become links while the workloads talk.
#[tokio::test(flavor = "multi_thread")]
async fn filters_become_links_under_traffic() {
    if !Kernel::probe().tcx {
        return;
    }
    let (machine, _session) = ready("auto").await;
    let (a, outer) = machine.attach("a").await;
    let (_b, _) = machine.attach("b").await;
    let folder = machine.folder.path().join("bpf/andromede/test");
    let pins = |form: &str| {
        let names =
            || std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        machine.pins.run(|| names().filter(|name| name.starts_with(form)).count()).unwrap()
    };
    assert_eq!((pins("filter-"), pins("link-")), (4, 2), "two of each workload, two of the underlay");
    assert_eq!(machine.status().await.attachment, "tcx");
    let log = machine.folder.path().join("ping");
    let mut command = a.command("ping");
    command.args("-n -q -i 0.005 10.0.0.11".split(' '));
    let mut ping = Process::start(command, &log).unwrap();
    machine.until("the links", |_| pins("filter-") == 0 && pins("link-") == 6).await;
    ping.end(Signal::SIGINT).unwrap();
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains(" 0% packet loss"), "{said}");
    let shown = machine.namespace.exec(&format!("tc filter show dev {outer} ingress")).unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(!shown.contains("from_workload") && shown.contains("65000"), "the static drop stays: {shown}");
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

/// Interface indexes recur: what was pinned in one network namespace means something else in another.
#[tokio::test(flavor = "multi_thread")]
async fn pins_of_another_namespace_or_state_are_refused() {
    let (mut machine, session) = ready("auto").await;
    drop(session);
    machine.end(Signal::SIGTERM);
    let refused = |machine: &common::machine::Machine| {
        let mut command = machine.run_command();
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let home = std::mem::replace(&mut machine.namespace, Namespace::new().unwrap());
    machine.namespace.ip("link add up0 type veth peer name up1").unwrap();
    let said = refused(&machine);
    assert!(said.contains("network namespace") && said.contains("cleanup --instance test"), "{said}");
    machine.namespace = home;
    std::fs::rename(machine.folder.path().join("state"), machine.folder.path().join("elsewhere")).unwrap();
    let said = refused(&machine);
    assert!(said.contains("does not know them"), "{said}");
    std::fs::remove_dir_all(machine.folder.path().join("state")).unwrap();
    std::fs::rename(machine.folder.path().join("elsewhere"), machine.folder.path().join("state")).unwrap();
    machine.start().await;
    machine.until("the host's own agent", |status| status.applied_revision == 1).await;
}
