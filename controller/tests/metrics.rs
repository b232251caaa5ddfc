//! Health, readiness and metrics, as whoever watches the controller asks for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{fmt::Write as _, net::SocketAddr};

use andromede_controller::{metrics::METRICS, settings::ServeArgs};
use support::{
    Controller,
    bundle::{empty_tenant, host, port},
    host::{Known, Session},
    plaintext,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// An address of which the port was free a moment ago.
fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

#[tokio::test]
async fn pages_say_how_the_controller_is_and_no_names() {
    let folder = tempfile::tempdir().unwrap();
    let address = free();
    let arguments = ServeArgs { metrics_listen: Some(address), ..plaintext(folder.path()) };
    let controller = Controller::start(&arguments).await;
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(address, "/readyz").await.ends_with("\r\n\r\nready\n"));

    let mut resources = [empty_tenant("secret"), vec![host(1), host(2), port("secret", 11, Some(1))]].concat();
    resources.push(port("secret", 12, Some(2)));
    controller.apply(resources).await.unwrap();
    let mut known = Known::default();
    let mut session = Session::open(controller.channel().await, known.hello("h1")).await.unwrap();
    known.apply(session.update().await);
    let text = get(address, "/metrics").await;
    for line in [
        "andromede_controller_revision 1",
        "andromede_controller_resources{kind=\"Port\"} 2",
        "andromede_controller_resources{kind=\"SecurityGroup\"} 1",
        "andromede_controller_hosts{state=\"pending\"} 1",
        "andromede_controller_hosts{state=\"out-of-touch\"} 1",
        "andromede_controller_hosts_behind_most 1",
        "andromede_controller_denied_calls_total 0",
        "andromede_controller_token_keys_broken 0",
        "andromede_controller_usage_bytes_total{place=\"other-zone\"} 0",
        "andromede_controller_subnets{level=\"roomy\"} 1",
        "andromede_controller_subnets_first_full_seconds 2592000",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    session.report(1).await;
    controller.in_force("hosts/h1").await;
    let text = get(address, "/metrics").await;
    assert!(text.contains("andromede_controller_hosts{state=\"in-force\"} 1\n"), "{text}");
    assert!(!text.contains("secret") && !text.contains("hosts/h"), "{text}");
    for metric in METRICS {
        assert!(text.contains(&format!("\n# TYPE {} {}\n{}", metric.name, metric.kind, metric.name)), "{metric:?}");
    }

    for absent in ["/", "/metrics/usage"] {
        assert!(get(address, absent).await.starts_with("HTTP/1.1 404"), "{absent}");
    }
    for wrong in ["POST /metrics HTTP/1.1\r\n\r\n", "\u{0}\r\n\r\n", "GET /metrics\r\n\r\n"] {
        assert!(ask(address, wrong).await.starts_with("HTTP/1.1 400"), "{wrong:?}");
    }
    // Who says nothing keeps nobody else waiting.
    let _silent = TcpStream::connect(address).await.unwrap();
    assert!(get(address, "/readyz").await.ends_with("ready\n"));
    controller.stop().await;
}

#[test]
fn the_document_lists_every_metric() {
    let mut table = "| metric | kind | |\n| --- | --- | --- |\n".to_owned();
    for metric in METRICS {
        writeln!(table, "| `{}` | {} | {} |", metric.name, metric.kind, metric.help).unwrap();
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let found = std::fs::read_to_string(file).unwrap();
    assert!(found.contains(&table), "docs/metrics.md is old; its table is\n{table}");
}
