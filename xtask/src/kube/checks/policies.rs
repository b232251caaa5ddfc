//! `NetworkPolicies`, by processes in pods.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{SPACE, eventually, named, pods::all_are_ready, policy, scene};
use crate::kube::cluster::Cluster;

fn remove(cluster: &Cluster, names: &[&str]) -> Result<()> {
    let arguments = [&["delete", "networkpolicy", "--namespace", SPACE], names].concat();
    cluster.kubectl().run(&arguments).map(drop)
}

pub(super) fn deny_closes(cluster: &mut Cluster) -> Result<()> {
    let [a, b, c] = scene(cluster)?;
    cluster.kubectl().apply(&policy("deny", &json!({"podSelector": {}, "policyTypes": ["Ingress"]})))?;
    eventually(cluster, &[(&a, &b, 80, false), (&a, &c, 80, false), (&c, &a, 81, false), (&c, &b, 80, false)])?;
    // Theirs are the probes that a kubelet sends in the name of the node.
    all_are_ready(cluster, SPACE, "app=probed", 6)
}

/// Stands beside the policy that denies.
pub(super) fn allow_opens(cluster: &mut Cluster) -> Result<()> {
    let [a, b, c] = scene(cluster)?;
    let from = json!([{"podSelector": {"matchLabels": {"name": "a"}}}]);
    let ports = json!([{"protocol": "TCP", "port": "serve-80"}]);
    let spec = json!({"podSelector": {"matchLabels": {"name": "c"}}, "ingress": [{"from": from, "ports": ports}]});
    cluster.kubectl().apply(&policy("allow", &spec))?;
    let cells = [(&a, &c, 80, true), (&a, &c, 81, false), (&b, &c, 80, false), (&c, &a, 80, false)];
    eventually(cluster, &cells)?;
    remove(cluster, &["deny", "allow"])?;
    eventually(cluster, &[(&a, &c, 81, true), (&b, &c, 80, true), (&c, &a, 80, true)])
}

pub(super) fn egress_holds(cluster: &mut Cluster) -> Result<()> {
    let [a, b, c] = scene(cluster)?;
    let to = json!([{"to": [{"podSelector": {"matchLabels": {"name": "b"}}}]}]);
    let spec = json!({"podSelector": {"matchLabels": {"name": "a"}}, "policyTypes": ["Egress"], "egress": to});
    cluster.kubectl().apply(&policy("out", &spec))?;
    eventually(cluster, &[(&a, &b, 80, true), (&a, &c, 80, false), (&c, &a, 80, true)])?;
    remove(cluster, &["out"])
}

pub(super) fn namespaces_and_blocks_hold(cluster: &mut Cluster) -> Result<()> {
    let [a, b, c] = scene(cluster)?;
    let d = cluster.pods("mill", "name=d")?.into_iter().next().context("there is no pod d")?;
    let space = json!({"namespaceSelector": {"matchLabels": {"space": "mill"}}});
    let block = json!({"ipBlock": {"cidr": "10.1.1.0/24", "except": [format!("{}/32", b.address)]}});
    let spec = json!({"podSelector": {"matchLabels": {"name": "c"}}, "ingress": [{"from": [space, block]}]});
    cluster.kubectl().apply(&policy("who", &spec))?;
    eventually(cluster, &[(&d, &c, 80, true), (&a, &c, 80, true), (&b, &c, 80, false)])?;
    // The labels of a namespace change, and with them who is meant.
    cluster.kubectl().run(&["label", "namespace", "mill", "space=other", "--overwrite"])?;
    eventually(cluster, &[(&d, &c, 80, false), (&a, &c, 80, true)])?;
    cluster.kubectl().run(&["label", "namespace", "mill", "space=mill", "--overwrite"])?;
    remove(cluster, &["who"])?;
    eventually(cluster, &[(&d, &c, 80, true), (&b, &c, 80, true)])
}

/// A named port of an address block has no meaning: such a policy allows nothing.
pub(super) fn odd_says_so(cluster: &mut Cluster) -> Result<()> {
    let (a, b) = (named(cluster, "a")?, named(cluster, "b")?);
    let rule = json!([{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"port": "serve-80"}]}]);
    let spec = json!({"podSelector": {"matchLabels": {"name": "a"}}, "policyTypes": ["Egress"], "egress": rule});
    cluster.kubectl().apply(&policy("odd", &spec))?;
    eventually(cluster, &[(&a, &b, 80, false)])?;
    cluster.wait("an Event says why", |cluster| {
        let listed = cluster.kubectl().run(&[
            "get",
            "events",
            "--namespace",
            SPACE,
            "--field-selector",
            "reason=NotExpressed",
            "-o",
            "name",
        ]);
        let listed = listed.map_err(|error| format!("{error:#}"))?;
        if listed.trim().is_empty() { Err("there is none".to_owned()) } else { Ok(()) }
    })?;
    remove(cluster, &["odd"])?;
    eventually(cluster, &[(&a, &b, 80, true)])
}
