//! What is looked at, and what came of it.

mod pods;
mod policies;
mod services;
mod upkeep;

use std::time::Instant;

use andromede_testkit::interrupt;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    cache::Cache,
    cluster::{Cluster, Pod},
    kubectl::Kubectl,
};

/// What came of the checks.
#[derive(Debug)]
pub(super) struct Report {
    only: Option<String>,
    run: usize,
    failed: Vec<String>,
    lacks: Vec<String>,
}

impl Report {
    pub(super) const fn new(only: Option<String>) -> Self {
        Self { only, run: 0, failed: Vec::new(), lacks: Vec::new() }
    }

    /// Takes the outcome of one check.
    pub(super) fn add(&mut self, name: &str, seconds: f32, outcome: Result<()>) {
        self.run += 1;
        match outcome {
            Ok(()) => println!("kube: pass  {name} ({seconds:.1} s)"),
            Err(error) => {
                println!("kube: FAIL  {name} ({seconds:.1} s): {error:#}");
                self.failed.push(name.to_owned());
            }
        }
    }

    fn check(&mut self, name: &str, cluster: &mut Cluster, check: impl FnOnce(&mut Cluster) -> Result<()>) {
        let is_wanted = self.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
        if !is_wanted || interrupt::check().is_err() {
            return;
        }
        let begin = Instant::now();
        let outcome = check(cluster);
        self.add(name, begin.elapsed().as_secs_f32(), outcome);
    }

    /// What Andromède does not do yet, and docs/kubernetes.md says so: it is tried, and told if that changes.
    fn lack(&mut self, name: &str, cluster: &mut Cluster, check: impl FnOnce(&mut Cluster) -> Result<()>) {
        let is_wanted = self.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
        if !is_wanted || interrupt::check().is_err() {
            return;
        }
        match check(cluster) {
            Ok(()) => println!("kube: NEW   {name}: this works now; make it a check"),
            Err(error) => {
                println!("kube: lacks {name}: {error:#}");
                self.lacks.push(name.to_owned());
            }
        }
    }

    pub(super) const fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// The last line; an error if a check failed.
    pub(super) fn close(self) -> Result<()> {
        interrupt::check()?;
        if !self.lacks.is_empty() {
            println!("kube: not there yet: {}", self.lacks.join("; "));
        }
        println!("kube: {} of {} checks passed", self.run - self.failed.len(), self.run);
        ensure!(self.failed.is_empty(), "these failed: {}", self.failed.join("; "));
        Ok(())
    }
}

/// Runs all checks.
pub(super) fn run(cluster: &mut Cluster, cache: &Cache, report: &mut Report) {
    let begin = Instant::now();
    let ready = pods::nodes_are_ready(cluster).and_then(|()| pods::make_scene(cluster));
    let is_there = ready.is_ok();
    report.add("both nodes are Ready, and pods run on both", begin.elapsed().as_secs_f32(), ready);
    if !is_there {
        return;
    }
    report.check("the API server takes the manifests", cluster, pods::manifests_are_taken);
    report.check("pods have addresses of their nodes", cluster, pods::addresses_are_of_the_node);
    report.check("pods reach pods of the same node and of the other", cluster, pods::reach_each_other);
    report.check("probes by HTTP, TCP and commands pass", cluster, pods::probes_pass);
    report.check("a policy that denies closes, probes go on", cluster, policies::deny_closes);
    report.check("a policy that allows opens to whom it names", cluster, policies::allow_opens);
    report.check("a policy of the egress holds", cluster, policies::egress_holds);
    report.check("a policy of namespaces and addresses holds", cluster, policies::namespaces_and_blocks_hold);
    report.check("an odd policy closes and says so", cluster, policies::odd_says_so);
    report.check("an operator that starts anew goes on", cluster, upkeep::operator_starts_anew);
    report.check("another operator takes over", cluster, upkeep::operator_takes_over);
    report.check("agents are replaced under traffic", cluster, upkeep::agents_are_replaced);
    report.check("a node is drained", cluster, upkeep::node_is_drained);
    report.check("sixty pods come and go", cluster, upkeep::many_come_and_go);
    report.check("the node reaches pods, and pods their node", cluster, services::node_and_pods);
    report.check("a host port leads to its pod", cluster, services::host_port);
    report.check("kube-proxy runs", cluster, |cluster| cluster.start_proxies(cache));
    report.check("a NodePort that keeps the sender's address", cluster, services::local_node_port);
    report.lack("the ClusterIP of a Service", cluster, services::cluster_ip);
    report.lack("a NodePort that leads to any node", cluster, services::node_port);
    report.lack("pods to another node", cluster, services::other_node);
    report.lack("pods to the outside, in the node's name", cluster, services::outside);
}

/// Namespace of the checks' pods.
const SPACE: &str = "shop";

/// A pod that serves HTTP at port 80, and 81.
fn pod(image: &str, name: &str, labels: &Value, node: Option<&str>) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE, "labels": labels},
        "spec": spec(image),
    });
    if let Some(node) = node {
        object["spec"]["nodeName"] = json!(node);
    }
    object
}

/// What such a pod runs.
fn spec(image: &str) -> Value {
    let serve = |port: u16| {
        json!({"name": format!("port-{port}"), "image": image, "imagePullPolicy": "Never",
            "args": ["netexec", format!("--http-port={port}"), format!("--udp-port={port}")],
            "ports": [{"name": format!("serve-{port}"), "containerPort": port}]})
    };
    json!({"terminationGracePeriodSeconds": 0, "containers": [serve(80), serve(81)]})
}

/// A policy of the namespace of the checks.
fn policy(name: &str, spec: &Value) -> String {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": SPACE}, "spec": spec})
    .to_string()
}

/// Does a process of the pod reach this address?
fn reaches(kubectl: &Kubectl, from: &Pod, address: &str, port: u16) -> Result<bool> {
    let line = format!("/agnhost connect {address}:{port} --timeout=2s");
    let (is_well, text) = kubectl.shell(&from.namespace, &from.name, &line)?;
    let is_refusal = ["TIMEOUT", "REFUSED", "OTHER"].iter().any(|word| text.contains(word));
    ensure!(is_well || is_refusal, "{} cannot ask {address}:{port}: {text}", from.name);
    Ok(is_well)
}

/// The same for several at once, until all is as expected: sender, receiver, port, and whether it is reached.
fn eventually(cluster: &mut Cluster, cells: &[(&Pod, &Pod, u16, bool)]) -> Result<()> {
    cluster.wait("everybody reaches whom policies say", |cluster| {
        let kubectl = cluster.kubectl();
        let wrong = std::thread::scope(|scope| {
            let ask = |(from, to, port, expected): &(&Pod, &Pod, u16, bool)| {
                let (from, to, port, expected) = ((*from).clone(), (*to).clone(), *port, *expected);
                scope.spawn(move || match reaches(kubectl, &from, &to.address, port) {
                    Ok(found) if found == expected => None,
                    Ok(found) => Some(format!("{} reaches {}:{port}: {found}", from.name, to.name)),
                    Err(error) => Some(format!("{error:#}")),
                })
            };
            let asked: Vec<_> = cells.iter().map(ask).collect();
            asked.into_iter().filter_map(|cell| cell.join().unwrap_or_default()).collect::<Vec<_>>()
        });
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
    })
}

/// The one pod of this name.
fn named(cluster: &Cluster, name: &str) -> Result<Pod> {
    let pods = cluster.pods(SPACE, &format!("name={name}"))?;
    pods.into_iter().find(|pod| pod.is_ready && !pod.is_going).with_context(|| format!("there is no pod {name}"))
}

/// The pods `a` and `b` of the first node, `c` of the second, and `d` of the second in another namespace.
fn scene(cluster: &Cluster) -> Result<[Pod; 3]> {
    Ok([named(cluster, "a")?, named(cluster, "b")?, named(cluster, "c")?])
}
