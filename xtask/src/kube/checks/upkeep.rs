//! What operators of a cluster do to it while pods go on: agents, operators and nodes come and go.

use std::{fs, net::SocketAddr, time::Duration};

use andromede_testkit::{
    Namespace,
    fabric::binary,
    traffic::{BackgroundPing, BackgroundStream, Sink},
};
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;

use super::{SPACE, eventually, named, pods::all_are_ready, policy, reaches, scene, spec};
use crate::kube::{
    cluster::{Cluster, Pod},
    operator,
};

/// From one ping to the next.
const PACE: Duration = Duration::from_millis(1);
/// A port that no pod of the checks listens on.
const STREAM: u16 = 9000;

fn close(cluster: &Cluster) -> Result<()> {
    cluster.kubectl().apply(&policy("closed", &json!({"podSelector": {"matchLabels": {"name": "c"}}})))
}

fn open(cluster: &Cluster) -> Result<()> {
    cluster.kubectl().run(&["delete", "networkpolicy", "closed", "--namespace", SPACE]).map(drop)
}

/// What is written while it is away is heard when it is back; what was in force stays so long.
pub(super) fn operator_starts_anew(cluster: &mut Cluster) -> Result<()> {
    let [a, b, c] = scene(cluster)?;
    close(cluster)?;
    eventually(cluster, &[(&a, &c, 80, false), (&a, &b, 80, true)])?;
    cluster.end_operator("one", Signal::SIGKILL)?;
    open(cluster)?;
    ensure!(!reaches(cluster.kubectl(), &a, &c.address, 80)?, "it stays closed while nobody hears that it should open");
    cluster.start_operator("one")?;
    eventually(cluster, &[(&a, &c, 80, true), (&a, &b, 80, true)])
}

pub(super) fn operator_takes_over(cluster: &mut Cluster) -> Result<()> {
    let [a, _, c] = scene(cluster)?;
    cluster.start_operator("two")?;
    cluster.wait("the first leads", |cluster| {
        let leader = operator::leader(cluster.kubectl());
        if leader.as_deref() == Some("one") { Ok(()) } else { Err(format!("{leader:?} leads")) }
    })?;
    cluster.end_operator("one", Signal::SIGKILL)?;
    close(cluster)?;
    eventually(cluster, &[(&a, &c, 80, false)])?;
    let leader = operator::leader(cluster.kubectl());
    ensure!(leader.as_deref() == Some("two"), "{leader:?} leads");
    open(cluster)?;
    eventually(cluster, &[(&a, &c, 80, true)])
}

/// The network namespace of a pod, by its address.
fn namespace_of(cluster: &Cluster, pod: &Pod) -> Result<Namespace> {
    let node = cluster.nodes().iter().find(|node| node.name() == pod.node);
    let node = node.with_context(|| format!("{pod:?} is on no node of ours"))?;
    let address = format!(" {}/", pod.address);
    let has = |namespace: &Namespace| {
        let listed =
            namespace.exec("ip -4 -o address show").map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        listed.is_ok_and(|listed| listed.contains(&address))
    };
    node.pods()
        .into_iter()
        .map(|(_, namespace)| namespace)
        .find(has)
        .with_context(|| format!("no process has the network of {pod:?}"))
}

/// Not one packet is lost while each agent ends and another build of it starts.
pub(super) fn agents_are_replaced(cluster: &mut Cluster) -> Result<()> {
    let [a, b, c] = scene(cluster)?;
    let (near, far) = (namespace_of(cluster, &a)?, namespace_of(cluster, &c)?);
    let sink = Sink::start(&far, STREAM)?;
    let stream = BackgroundStream::start(&near, SocketAddr::new(c.address.parse()?, STREAM));
    let pings = [&b, &c].map(|to| to.address.parse().map(|address| BackgroundPing::start(&near, address, PACE)));
    std::thread::sleep(Duration::from_millis(500));
    let build = cluster.fabric().folder().join("andromede-agent");
    fs::copy(binary("andromede-agent")?, &build)?;
    for (number, signal) in [(1, Signal::SIGTERM), (2, Signal::SIGKILL)] {
        cluster.fabric_mut().agent_mut(number)?.stop(signal)?;
        std::thread::sleep(Duration::from_millis(300));
        cluster.fabric_mut().resume_agent_as(number, build.clone())?;
    }
    cluster.fabric().wait_in_force()?;
    let before = sink.received();
    std::thread::sleep(Duration::from_millis(500));
    ensure!(sink.received() > before && !stream.ended(), "the stream does not go on");
    for ping in pings {
        let report = ping?.stop()?;
        ensure!(report.sent > 500 && report.lost.is_empty(), "{} of {} were lost", report.lost.len(), report.sent);
    }
    ensure!(stream.stop()?.same_bytes(&sink.report()?), "other bytes arrived than were sent");
    // And a pod that starts afterwards is reached as those before.
    cluster.kubectl().run(&["delete", "pod", "b", "--namespace", SPACE])?;
    let image = cluster.image().to_owned();
    let again = super::pod(&image, "b", &json!({"name": "b"}), Some("h1"));
    cluster.kubectl().apply(&again.to_string())?;
    all_are_ready(cluster, SPACE, "name=b", 1)?;
    let b = named(cluster, "b")?;
    eventually(cluster, &[(&a, &b, 80, true), (&c, &b, 80, true)])
}

/// What ran on the node runs on the other one, and is reached there.
pub(super) fn node_is_drained(cluster: &mut Cluster) -> Result<()> {
    let a = named(cluster, "a")?;
    let kubectl = cluster.kubectl();
    kubectl.run(&["drain", "h2", "--force", "--ignore-daemonsets", "--timeout=60s", "--delete-emptydir-data"])?;
    all_are_ready(cluster, SPACE, "app=web", 6)?;
    let web = cluster.pods(SPACE, "app=web")?;
    ensure!(web.iter().all(|pod| pod.node == "h1"), "not all are on the first node: {web:?}");
    let cells: Vec<_> = web.iter().map(|to| (&a, to, 80, true)).collect();
    eventually(cluster, &cells)?;
    let kubectl = cluster.kubectl();
    kubectl.run(&["uncordon", "h2"])?;
    // The single pods of that node are gone with it.
    let image = cluster.image().to_owned();
    let kubectl = cluster.kubectl();
    kubectl.apply(&super::pod(&image, "c", &json!({"name": "c"}), Some("h2")).to_string())?;
    all_are_ready(cluster, SPACE, "name=c", 1)?;
    let c = named(cluster, "c")?;
    eventually(cluster, &[(&a, &c, 80, true), (&c, &a, 80, true)])
}

/// A Deployment grows and goes; afterwards the controller knows of no port of its pods.
pub(super) fn many_come_and_go(cluster: &mut Cluster) -> Result<()> {
    let image = cluster.image().to_owned();
    let known = |cluster: &Cluster| -> Result<usize> {
        Ok(cluster.fabric().control().json(&["get", "ports"])?.to_string().matches("/ports/pod-").count())
    };
    let before = known(cluster)?;
    let mut one = spec(&image);
    one["containers"] = json!([one["containers"][0].clone()]);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many", "namespace": SPACE},
        "spec": {"replicas": 60, "selector": {"matchLabels": {"app": "many"}},
            "template": {"metadata": {"labels": {"app": "many"}}, "spec": one}}
    });
    cluster.kubectl().apply(&deployment.to_string())?;
    all_are_ready(cluster, SPACE, "app=many", 60)?;
    let a = named(cluster, "a")?;
    let many = cluster.pods(SPACE, "app=many")?;
    let cells: Vec<_> = many.iter().step_by(7).map(|to| (&a, to, 80, true)).collect();
    eventually(cluster, &cells)?;
    cluster.kubectl().run(&["delete", "deployment", "many", "--namespace", SPACE])?;
    cluster.wait("nothing is left of them", |cluster| {
        let now = known(cluster).map_err(|error| format!("{error:#}"))?;
        if now == before { Ok(()) } else { Err(format!("the controller knows {now} ports, before them {before}")) }
    })
}
