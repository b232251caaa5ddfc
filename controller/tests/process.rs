//! The program itself: what it prints, how it ends, and that killing it loses nothing that was acknowledged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    collections::BTreeSet,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use andromede_proto::v1::{
    ApplyRequest, ListRequest, WatchRequest, fabric_service_client::FabricServiceClient,
    port_service_client::PortServiceClient,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use support::{
    bundle::{empty_tenant, host, port},
    host::{Known, Session},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tonic::transport::Channel;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_andromede-controller"));
    command.args(arguments).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts the program and waits for its line.
async fn start(store: &Path) -> (Child, String, Channel) {
    let mut command =
        command(&["serve", "--insecure-plaintext", "--listen", "127.0.0.1:0", "--log", "warn", "--store"]);
    let mut child = command.arg(store).stderr(Stdio::inherit()).spawn().unwrap();
    let (line, channel) = connect(&mut child).await;
    (child, line, channel)
}

/// Waits for the program's line, and connects to the address in it.
async fn connect(child: &mut Child) -> (String, Channel) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().expect("a line");
    let address = line.split("listening on ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    (line, channel)
}

#[tokio::test]
async fn it_ends_orderly_at_a_signal_even_with_open_streams() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut child, line, channel) = start(folder.path()).await;
        assert!(line.contains("PLAINTEXT"), "{line}");
        let mut fabric = FabricServiceClient::new(channel.clone());
        fabric.apply(ApplyRequest { resources: vec![host(1)], ..ApplyRequest::default() }).await.unwrap();
        let mut session = Session::open(channel, Known::default().hello("h1")).await.unwrap();
        session.update().await;
        let mut watch =
            fabric.watch(WatchRequest { after_revision: 0, ..WatchRequest::default() }).await.unwrap().into_inner();
        watch.message().await.unwrap();
        kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), signal).unwrap();
        let status = timeout(Duration::from_secs(4), child.wait()).await.expect("it ends soon").unwrap();
        assert!(status.success(), "{signal}: {status}");
        assert!(session.next().await.is_err());
    }
}

#[tokio::test]
async fn every_write_leaves_one_line_that_says_who_and_what() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(&["serve", "--insecure-plaintext", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    let mut child = command.arg("--store").arg(folder.path()).spawn().unwrap();
    let (_, channel) = connect(&mut child).await;
    let mut fabric = FabricServiceClient::new(channel);
    for validate_only in [true, false, false] {
        fabric
            .apply(ApplyRequest { resources: vec![host(1)], validate_only, ..ApplyRequest::default() })
            .await
            .unwrap();
    }
    kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let audit: Vec<_> = lines.iter().filter(|line| line["target"] == "audit").map(|line| &line["fields"]).collect();
    // A check writes nothing, and neither does what is there already.
    assert_eq!(audit.len(), 1, "{log}");
    assert_eq!((&audit[0]["principal"], &audit[0]["revision"]), (&"anonymous".into(), &1.into()));
    assert_eq!((&audit[0]["created"], &audit[0]["names"]), (&1.into(), &"hosts/h1".into()));
}

#[tokio::test]
async fn plaintext_off_loopback_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let output = command(&["serve", "--insecure-plaintext", "--listen", "0.0.0.0:0", "--store", store]).output();
    let output = output.await.unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("not a loopback address") && told.contains("--tls-cert"), "{told}");
}

#[tokio::test]
async fn killed_again_and_again_it_keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    let mut next = 2;
    for round in 0..6_u64 {
        let (mut child, _, channel) = start(folder.path()).await;
        let mut fabric = FabricServiceClient::new(channel.clone());
        if round == 0 {
            let resources = [empty_tenant("a"), vec![host(1)]].concat();
            fabric.apply(ApplyRequest { resources, ..ApplyRequest::default() }).await.unwrap();
        }
        let list = ListRequest { page_size: 1_000, ..ListRequest::default() };
        let found = PortServiceClient::new(channel.clone()).list_ports(list).await.unwrap().into_inner();
        let found: BTreeSet<_> = found.ports.into_iter().map(|port| port.name).collect();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");

        // Writers until the kill, in the middle of them; what was not acknowledged may be there or not.
        let answers = AtomicU64::new(0);
        let writes = (next..next + 40).map(|number| {
            let (mut fabric, answers) = (fabric.clone(), &answers);
            async move {
                let resources = vec![port("a", number, Some(1))];
                let name = format!("tenants/a/networks/n/ports/p{number}");
                fabric.apply(ApplyRequest { resources, ..ApplyRequest::default() }).await.ok().map(|_| {
                    answers.fetch_add(1, Ordering::Relaxed);
                    name
                })
            }
        });
        let dying = async {
            while answers.load(Ordering::Relaxed) < 1 + round * 5 {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            child.kill().await.unwrap();
        };
        let (written, ()) = tokio::join!(futures::future::join_all(writes), dying);
        acknowledged.extend(written.into_iter().flatten());
        next += 40;
    }
    assert!(acknowledged.len() >= 6, "{acknowledged:?}");
    // The log has no gap: a watcher from the first commit sees every revision once.
    let (_child, _, channel) = start(folder.path()).await;
    let mut fabric = FabricServiceClient::new(channel);
    let head = fabric.get_status(andromede_proto::v1::GetStatusRequest {}).await.unwrap().into_inner().revision;
    let mut watch =
        fabric.watch(WatchRequest { after_revision: 1, ..WatchRequest::default() }).await.unwrap().into_inner();
    for revision in 2..=head {
        assert_eq!(watch.message().await.unwrap().unwrap().revision, revision);
    }
    assert!(head > acknowledged.len() as u64);
}
