//! Nodes, pods, and that they reach each other.

use std::{collections::BTreeSet, fs};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{SPACE, eventually, pod, scene, spec};
use crate::{
    kube::cluster::{Cluster, subnet_of},
    workspace,
};

/// Pods of the Deployment.
const REPLICAS: usize = 6;

pub(super) fn nodes_are_ready(cluster: &mut Cluster) -> Result<()> {
    cluster.wait("both nodes are Ready", |cluster| {
        let listed = cluster.kubectl().json(&["get", "nodes"]).map_err(|error| format!("{error:#}"))?;
        let is_ready = |node: &&Value| {
            let conditions = node.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
            conditions.into_iter().any(|it| it["type"] == "Ready" && it["status"] == "True")
        };
        let ready = listed["items"].as_array().into_iter().flatten().filter(is_ready).count();
        if ready == cluster.nodes().len() { Ok(()) } else { Err(format!("{ready} are Ready: {listed}")) }
    })
}

/// Makes the pods that the checks are about: three single ones, one of another namespace, and a Deployment.
pub(super) fn make_scene(cluster: &mut Cluster) -> Result<()> {
    let image = cluster.image().to_owned();
    for space in [SPACE, "mill"] {
        let labels = json!({"space": space});
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space, "labels": labels}});
        cluster.kubectl().apply(&object.to_string())?;
    }
    let mut other = pod(&image, "d", &json!({"name": "d"}), Some("h2"));
    other["metadata"]["namespace"] = json!("mill");
    let single = [("a", "h1"), ("b", "h1"), ("c", "h2")]
        .map(|(name, node)| pod(&image, name, &json!({"name": name}), Some(node)));
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": SPACE},
        "spec": {"replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec(&image)}}
    });
    let objects: Vec<Value> = single.into_iter().chain([other, deployment]).collect();
    // The account that pods have is made a moment after its namespace.
    cluster.wait("the pods are taken", |cluster| {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        cluster.kubectl().apply(&list).map_err(|error| format!("{error:#}"))
    })?;
    all_are_ready(cluster, "mill", "name=d", 1)?;
    all_are_ready(cluster, SPACE, "name in (a,b,c)", 3)?;
    all_are_ready(cluster, SPACE, "app=web", REPLICAS)
}

/// Waits until so many pods with these labels are ready, and none is going.
pub(super) fn all_are_ready(cluster: &mut Cluster, namespace: &str, selector: &str, count: usize) -> Result<()> {
    cluster.wait(&format!("{count} pods ({selector}) are ready"), |cluster| {
        let pods = cluster.pods(namespace, selector).map_err(|error| format!("{error:#}"))?;
        let ready = pods.iter().filter(|pod| pod.is_ready && !pod.is_going).count();
        if ready == count && pods.len() == count { Ok(()) } else { Err(format!("{ready} of {}: {pods:?}", pods.len())) }
    })
}

/// The API server checks what is in the manifests, but makes nothing of it.
pub(super) fn manifests_are_taken(cluster: &mut Cluster) -> Result<()> {
    let mut seen = 0;
    for entry in fs::read_dir(workspace::root().join("packaging/kubernetes"))? {
        let file = entry?.path().display().to_string();
        cluster.kubectl().run(&["apply", "--dry-run=server", "-f", &file])?;
        seen += 1;
    }
    ensure!(seen >= 3, "there are only {seen} manifests");
    Ok(())
}

pub(super) fn addresses_are_of_the_node(cluster: &mut Cluster) -> Result<()> {
    let mut pods = cluster.pods(SPACE, "")?;
    pods.extend(cluster.pods("mill", "")?);
    for pod in &pods {
        let subnet = subnet_of(&pod.node);
        ensure!(pod.address.starts_with(&subnet), "{pod:?} is not in {subnet}0/24");
    }
    let different: BTreeSet<&str> = pods.iter().map(|pod| pod.address.as_str()).collect();
    ensure!(different.len() == pods.len(), "two have one address: {pods:?}");
    for node in ["h1", "h2"] {
        ensure!(
            pods.iter().any(|pod| pod.node == node && pod.name.starts_with("web")),
            "no pod of the Deployment is on {node}"
        );
    }
    Ok(())
}

pub(super) fn reach_each_other(cluster: &mut Cluster) -> Result<()> {
    let [a, b, c] = scene(cluster)?;
    eventually(cluster, &[(&a, &b, 80, true), (&a, &c, 80, true), (&c, &b, 81, true), (&c, &a, 80, true)])
}

pub(super) fn probes_pass(cluster: &mut Cluster) -> Result<()> {
    let image = cluster.image().to_owned();
    let probes = json!({"http": {"httpGet": {"path": "/healthz", "port": 80}}, "tcp": {"tcpSocket": {"port": 81}},
        "command": {"exec": {"command": ["/bin/true"]}}});
    let mut count = 0;
    for (kind, probe) in probes.as_object().into_iter().flatten() {
        for node in ["h1", "h2"] {
            let name = format!("probed-{kind}-{node}");
            let mut object = pod(&image, &name, &json!({"name": name, "app": "probed"}), Some(node));
            let mut probe = probe.clone();
            probe["periodSeconds"] = json!(1);
            probe["failureThreshold"] = json!(2);
            probe["timeoutSeconds"] = json!(3);
            object["spec"]["containers"][0]["readinessProbe"] = probe;
            cluster.kubectl().apply(&object.to_string())?;
            count += 1;
        }
    }
    all_are_ready(cluster, SPACE, "app=probed", count)
}
