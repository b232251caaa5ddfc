//! The program itself: what it prints, how it ends, and that killing it loses nothing that was acknowledged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use andromede_proto::v1::{
    ApplyRequest, CreateJoinTokenRequest, ListRequest, WatchRequest, fabric_service_client::FabricServiceClient,
    join_token_service_client::JoinTokenServiceClient, port_service_client::PortServiceClient,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use support::{
    bundle::{empty_tenant, host, port},
    collector::Collector,
    host::{Known, Session},
    issuer::{AUDIENCE, ISSUER, Issuer, claims, with_token},
    pki::{Authority, write},
    program::{address, command, connect, start},
    tls::with_tokens,
};
use tokio::{process::Command, time::timeout};
use tonic::transport::Channel;

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

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The request of somebody who gives it a number.
fn numbered<T>(message: T, number: &'static str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("x-request-id", number.parse().unwrap());
    request.metadata_mut().insert("traceparent", TRACEPARENT.parse().unwrap());
    request
}

/// The program with all that it can be given.
fn whole(folder: &Path, authority: &Authority, hosts: &Authority, issuer: &Issuer, collector: SocketAddr) -> Command {
    with_tokens(folder, authority, &issuer.set());
    write(folder, "hosts-ca.pem", &hosts.pem());
    write(folder, "hosts-ca.key", &hosts.key());
    // Spans go over TLS, to who has a certificate of an authority of its own.
    write(folder, "collector-ca.pem", &hosts.pem());
    let mut command = command(&["--log", "trace", "serve", "--listen", "127.0.0.1:0", "--token-issuer", ISSUER]);
    command.args(["--token-audience", AUDIENCE, "--otlp", &format!("https://{collector}")]);
    for (flag, name) in [
        ("--store", "store"),
        ("--tls-cert", "controller.pem"),
        ("--tls-key", "controller.key"),
        ("--client-ca", "ca.pem"),
        ("--host-ca", "hosts-ca.pem"),
        ("--host-ca-key", "hosts-ca.key"),
        ("--token-keys", "keys.json"),
        ("--otlp-ca", "collector-ca.pem"),
    ] {
        command.arg(flag).arg(folder.join(name));
    }
    command
}

#[tokio::test]
async fn a_call_is_found_by_its_number_and_its_spans_and_no_log_has_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, hosts, issuer) = (Authority::new(), Authority::named("hosts"), Issuer::new("k"));
    let (collector, file) = (Collector::default(), folder.path().join("log"));
    let mut command = whole(
        folder.path(),
        &authority,
        &hosts,
        &issuer,
        collector.serve(&hosts.issue("andromede://collector/o")).await,
    );
    let mut child = command.stderr(std::fs::File::create(&file).unwrap()).spawn().unwrap();
    let (address, _) = address(&mut child).await;
    let dial = async |issued| {
        let endpoint = Channel::from_shared(format!("https://{address}")).unwrap();
        endpoint.tls_config(authority.client(issued)).unwrap().connect().await.unwrap()
    };
    let stranger = dial(None).await;
    let token = issuer.token(&claims("operator"));
    let operator = with_token(stranger.clone(), &token);
    let apply = numbered(ApplyRequest { resources: vec![host(1)], ..ApplyRequest::default() }, "ticket-4711");
    let answer = FabricServiceClient::new(operator.clone()).apply(apply).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "ticket-4711");
    // A refusal has a number too.
    let forged = Issuer::new("k").token(&claims("operator"));
    let refused = FabricServiceClient::new(with_token(stranger, &forged)).apply(ApplyRequest::default()).await;
    assert!(!refused.unwrap_err().metadata().get("x-request-id").unwrap().is_empty());
    let wanted = CreateJoinTokenRequest { parent: "hosts/h1".to_owned(), ttl_seconds: 60 };
    let join = JoinTokenServiceClient::new(operator).create_join_token(wanted).await.unwrap().into_inner().token;
    let h1 = dial(Some(&authority.issue("andromede://host/h1"))).await;
    let mut session = Session::open(h1, Known::default().hello("h1")).await.unwrap();
    assert_eq!(session.update().await.revision, 1);
    session.report(1).await;
    let spans = timeout(Duration::from_secs(10), async {
        while !collector.spans().iter().any(|span| span.name == "in force") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        collector.spans()
    });
    let spans = spans.await.expect("the commit is in force");
    kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(child.wait().await.unwrap().success());

    let of = |name: &str| spans.iter().find(|span| span.name == name && span.trace_id[0] == 0x4b).expect(name);
    let (call, commit) = (of("call"), of("commit"));
    assert_eq!((call.parent_span_id[7], &commit.parent_span_id), (0xb7, &call.span_id));
    assert!([of("publish"), of("in force")].iter().all(|span| span.parent_span_id == commit.span_id));
    assert!(call.end_time_unix_nano >= commit.end_time_unix_nano && commit.start_time_unix_nano > 0);
    let fields = format!("{:?}", call.attributes);
    assert!(
        ["ticket-4711", "operator/token:alice", "FabricService/Apply"].iter().all(|it| fields.contains(it)),
        "{fields}"
    );

    let log = std::fs::read_to_string(file).unwrap();
    let audit = log.lines().find(|line| line.contains("audit") && line.contains("hosts/h1")).unwrap();
    assert!(audit.contains("ticket-4711"), "{audit}");
    let keys =
        ["controller.key", "hosts-ca.key"].map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap());
    let lines = keys.iter().flat_map(|key| key.lines().filter(|line| line.len() > 20));
    let tokens = [&token, &forged].into_iter().flat_map(|token| token.split('.').skip(1));
    for secret in lines.chain(tokens).chain([join.as_str()]) {
        assert!(!log.contains(secret) && !format!("{spans:?}").contains(secret), "a secret in a log: {secret}");
    }
}
