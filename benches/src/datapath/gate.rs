//! What must hold before anything is timed, and a second opinion.

use std::{net::SocketAddr, time::Duration};

use andromede_testkit::{
    Process, interrupt,
    traffic::{Sink, send_segments, send_stream},
    wait,
};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::scene::Scene;
use crate::{cpu::Core, traffic::Pod};

/// Bytes of a stream whose hash is compared.
const STREAM: u64 = 64 << 20;

/// Bytes of datagrams that are cut by the kernel (`UDP_SEGMENT`), and of each.
const SEGMENTS: (u64, usize) = (4 << 20, 1200);

/// TCP and UDP port of these checks.
const PORT: u16 = 5001;

/// Sends streams and datagram trains between all pairs of pods, both ways, and compares what arrives.
pub(super) fn check(scene: &Scene) -> Result<()> {
    let (left, right) = (&scene.left, &scene.right);
    let mut pairs = vec![(left, right), (right, left)];
    pairs.extend(scene.neighbor.iter().map(|neighbor| (left, neighbor)));
    for (from, to) in pairs {
        arrives(from, to).with_context(|| format!("from {} to {}", from.address, to.address))?;
    }
    scene.check_filters()
}

fn arrives(from: &Pod, to: &Pod) -> Result<()> {
    let address = SocketAddr::from((to.address, PORT));
    let sink = Sink::start(&to.namespace, PORT)?;
    let sent = send_stream(&from.namespace, address, STREAM).context("a TCP stream")?;
    let received = sink.report()?;
    ensure!(sent.same_bytes(&received), "a TCP stream does not arrive as it was sent: {sent:?}, {received:?}");
    let (bytes, segment) = SEGMENTS;
    let (sent, received) = send_segments(&from.namespace, &to.namespace, address, segment, bytes)
        .context("datagrams that the kernel cuts (UDP_SEGMENT)")?;
    ensure!(sent.same_bytes(&received), "UDP_SEGMENT does not arrive as it was sent: {sent:?}, {received:?}");
    Ok(())
}

/// Gigabits a second of one stream, as iperf3 measures it; none if it fails [`ATTEMPTS`] times. It does now and then, with
/// nothing at all between its two ends.
pub(super) fn iperf(scene: &Scene, cores: [Core; 2], time: Duration) -> Result<f64> {
    let mut last = iperf_once(scene, cores, time);
    for _ in 1..ATTEMPTS {
        interrupt::check()?;
        if last.is_ok() {
            break;
        }
        last = iperf_once(scene, cores, time);
    }
    last
}

/// How often iperf3 may fail.
const ATTEMPTS: u32 = 4;

fn iperf_once(scene: &Scene, cores: [Core; 2], time: Duration) -> Result<f64> {
    let (from, to) = (&scene.left, &scene.right);
    let folder = tempfile::tempdir()?;
    let mut server = to.namespace.command("iperf3");
    server.args(["--server", "--one-off", "--affinity", &cores[1].to_string()]);
    let _server = Process::start(server, &folder.path().join("server"))?;
    let listening = || to.namespace.exec("ss -Hltn sport = :5201").ok().filter(|seen| !seen.stdout.is_empty());
    wait::until("iperf3 listens", Duration::from_secs(5), listening)?;
    let seconds = time.as_secs().max(1);
    let mut client = from.namespace.command("iperf3");
    client.args(["--json", "--affinity", &cores[0].to_string(), "--time", &seconds.to_string()]);
    client.args(["--client", &to.address.to_string()]);
    let mut client = Process::start(client, &folder.path().join("client"))?;
    client.wait(Duration::from_secs(seconds + 2))?;
    let report: Value = serde_json::from_str(&client.log()).context("reading what iperf3 says")?;
    let rate = report.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    let error = || format!("iperf3: {}", report.get("error").unwrap_or(&Value::Null));
    Ok(rate.filter(|rate| *rate > 0.0).with_context(error)? / 1e9)
}
