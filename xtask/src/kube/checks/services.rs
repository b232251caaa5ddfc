//! Pods and what is not a pod: their node, the outside, and what kube-proxy makes of Services.

use std::{net::SocketAddr, time::Duration};

use andromede_testkit::{
    fabric::Control,
    traffic::{Responder, tcp_probe},
};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{SPACE, named, pod, pods::all_are_ready, reaches};
use crate::kube::cluster::Cluster;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A port of a node, from those that Services have.
const NODE_PORT: u16 = 30_080;
/// One that leads to pods of the same node only.
const LOCAL_PORT: u16 = 30_081;
/// A port of a node that leads to a pod.
const HOST_PORT: u16 = 8_080;
/// A port of what is not in the cluster.
const OUTSIDE: u16 = 7_777;

/// Does a process of a node get an answer?
fn node_reaches(cluster: &Cluster, node: usize, to: SocketAddr) -> Result<bool> {
    let node = cluster.nodes().get(node).context("there is no such node")?;
    // It says nothing by itself: that it is there is the answer.
    node.namespace().run(|| std::net::TcpStream::connect_timeout(&to, PATIENCE).is_ok())
}

fn address_of(cluster: &Cluster, number: u8) -> Result<String> {
    Ok(cluster.fabric().agent(number)?.place().address.to_string())
}

pub(super) fn node_and_pods(cluster: &mut Cluster) -> Result<()> {
    let (a, c) = (named(cluster, "a")?, named(cluster, "c")?);
    for (node, pod) in [&a, &c].into_iter().enumerate() {
        let to = SocketAddr::new(pod.address.parse()?, 80);
        ensure!(node_reaches(cluster, node, to)?, "the node does not reach {}", pod.name);
    }
    let address = address_of(cluster, 1)?;
    let _server = Responder::start(cluster.fabric().agent(1)?.namespace(), "node", &[OUTSIDE], &[])?;
    ensure!(reaches(cluster.kubectl(), &a, &address, OUTSIDE)?, "a does not reach its node");
    Ok(())
}

pub(super) fn host_port(cluster: &mut Cluster) -> Result<()> {
    let image = cluster.image().to_owned();
    let mut object = pod(&image, "hosted", &json!({"name": "hosted"}), Some("h1"));
    object["spec"]["containers"][0]["ports"][0]["hostPort"] = json!(HOST_PORT);
    cluster.kubectl().apply(&object.to_string())?;
    all_are_ready(cluster, SPACE, "name=hosted", 1)?;
    let to: SocketAddr = format!("{}:{HOST_PORT}", address_of(cluster, 1)?).parse()?;
    cluster.wait("from another node the pod is reached", |cluster| match node_reaches(cluster, 1, to) {
        Ok(true) => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

/// A Service of the Deployment, whose port of a node leads to pods of that node only if `is_local`; its address.
fn service(cluster: &Cluster, node_port: u16, is_local: bool) -> Result<String> {
    let name = format!("web-{node_port}");
    let policy = if is_local { "Local" } else { "Cluster" };
    let object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": SPACE},
        "spec": {"type": "NodePort", "selector": {"app": "web"}, "externalTrafficPolicy": policy,
            "ports": [{"port": 80, "targetPort": 80, "nodePort": node_port}]}
    });
    cluster.kubectl().apply(&object.to_string())?;
    let made: Value = cluster.kubectl().json(&["get", "service", &name, "--namespace", SPACE])?;
    // Until kube-proxy has heard of it.
    std::thread::sleep(Duration::from_secs(3));
    Ok(made["spec"]["clusterIP"].as_str().context("the Service has no address")?.to_owned())
}

/// Does a host that is not of the cluster reach this port of the first node, every time?
fn outside_reaches(cluster: &Cluster, node_port: u16) -> Result<()> {
    let to: SocketAddr = format!("{}:{node_port}", address_of(cluster, 1)?).parse()?;
    let controller = cluster.fabric().control().namespace();
    for _ in 0..6 {
        let reached = controller.run(|| std::net::TcpStream::connect_timeout(&to, PATIENCE).is_ok())?;
        ensure!(reached, "who is not of the cluster does not reach {to}");
    }
    Ok(())
}

/// The sender keeps its address, and the pods' rules judge it by that.
pub(super) fn local_node_port(cluster: &mut Cluster) -> Result<()> {
    service(cluster, LOCAL_PORT, true)?;
    cluster.wait("who is not of the cluster reaches pods of the node", |cluster| {
        outside_reaches(cluster, LOCAL_PORT).map_err(|error| format!("{error:#}"))
    })
}

pub(super) fn cluster_ip(cluster: &mut Cluster) -> Result<()> {
    let address = service(cluster, NODE_PORT, false)?;
    let a = named(cluster, "a")?;
    // Each is another backend's.
    for _ in 0..6 {
        ensure!(reaches(cluster.kubectl(), &a, &address, 80)?, "a does not reach {address}");
    }
    Ok(())
}

/// kube-proxy sends on in the name of the node, which is dropped.
pub(super) fn node_port(cluster: &mut Cluster) -> Result<()> {
    service(cluster, NODE_PORT, false)?;
    outside_reaches(cluster, NODE_PORT)
}

/// Another node is not of the pods' network, and the way there is the outside.
pub(super) fn other_node(cluster: &mut Cluster) -> Result<()> {
    let a = named(cluster, "a")?;
    let address = address_of(cluster, 2)?;
    let _server = Responder::start(cluster.fabric().agent(2)?.namespace(), "node", &[OUTSIDE], &[])?;
    ensure!(reaches(cluster.kubectl(), &a, &address, OUTSIDE)?, "a does not reach the other node");
    Ok(())
}

/// The host of the controller is not of the cluster, and knows no way back to pods: who asks must be the node.
pub(super) fn outside(cluster: &mut Cluster) -> Result<()> {
    let a = named(cluster, "a")?;
    let outside = cluster.fabric().control().namespace();
    let _server = Responder::start(outside, "outside", &[OUTSIDE], &[])?;
    let to = SocketAddr::new(Control::address().into(), OUTSIDE);
    let probe = tcp_probe(cluster.fabric().agent(1)?.namespace(), to, PATIENCE)?;
    ensure!(probe.is_answered(), "the node itself does not reach {to}");
    let node = cluster.fabric().agent(1)?.namespace();
    node.exec("iptables -t nat -A POSTROUTING -s 10.1.0.0/16 ! -d 10.1.0.0/16 -j MASQUERADE")?;
    let reached = reaches(cluster.kubectl(), &a, &Control::address().to_string(), OUTSIDE)?;
    ensure!(reached, "a does not reach {to}");
    Ok(())
}
