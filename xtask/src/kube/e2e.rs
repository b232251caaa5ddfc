//! The NetworkPolicy specs of Kubernetes' own suite.
//!
//! They ask by the address of a Service. Until Andromède has Services, something of this file's own stands for them: in the network of each
//! pod, what is sent to a Service goes to its first endpoint, before it leaves the pod. What policies say of it is judged as any packet.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use andromede_testkit::{Namespace, Process, interrupt};
use anyhow::{Result, ensure};
use serde_json::Value;

use super::{cache::Cache, checks::Report, cluster::Cluster, kubectl::Kubectl, say};

/// All specs of policies, as the suite's own expression.
pub(super) const FOCUS: &str = r"\[sig-network\] NetworkPolicy";
/// SCTP's need a kernel with such sockets.
const SKIP: &str = "SCTP";
/// How many specs run at once.
const AT_ONCE: &str = "8";
/// How often Services are looked at.
const LOOK: Duration = Duration::from_millis(300);

/// Runs the specs whose name matches the expression, each a check.
pub(super) fn run(cluster: &Cluster, cache: &Cache, focus: &str, report: &mut Report) {
    say("running the specs of Kubernetes' suite");
    let begin = Instant::now();
    match specs(cluster, cache, focus) {
        Ok(specs) => specs.into_iter().for_each(|(name, seconds, outcome)| report.add(&name, seconds, outcome)),
        Err(error) => report.add("the specs of Kubernetes' suite", begin.elapsed().as_secs_f32(), Err(error)),
    }
}

type Spec = (String, f32, Result<()>);

fn specs(cluster: &Cluster, cache: &Cache, focus: &str) -> Result<Vec<Spec>> {
    let folder = cluster.fabric().folder().join("e2e");
    std::fs::create_dir_all(&folder)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let services = scope.spawn(|| stand_for_services(cluster, &stop));
        let mut command = cluster.fabric().control().namespace().command(cache.program("ginkgo"));
        command.args(["-nodes", AT_ONCE, "-noColor", "-focus", focus, "-skip", SKIP]);
        command.arg(cache.program("e2e.test")).args(["--", "--provider=skeleton", "--disable-log-dump"]);
        command.arg("--kubeconfig").arg(cluster.kubeconfig()).arg("--kubectl-path").arg(cache.debian("kubectl"));
        command.arg("--repo-root").arg(cache.source_folder()).arg("--report-dir").arg(&folder);
        command.current_dir(&folder).env("HOME", &folder);
        let ran = Process::start(command, &folder.join("log")).and_then(|mut specs| {
            while specs.alive() && interrupt::check().is_ok() {
                thread::sleep(LOOK);
            }
            let found = read(&folder)?;
            ensure!(!found.is_empty(), "no spec ran:\n{}", specs.tail());
            Ok(found)
        });
        stop.store(true, Ordering::Relaxed);
        if services.join().is_err() {
            say("what stands for Services ended badly");
        }
        ran
    })
}

/// Reads the reports, one of each process: of every spec that ran its name, seconds, and what failed.
fn read(folder: &std::path::Path) -> Result<Vec<Spec>> {
    let mut specs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|kind| kind != "xml") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        for case in text.split("<testcase ").skip(1) {
            let case = case.split("</testcase>").next().unwrap_or(case);
            if case.contains("<skipped") {
                continue;
            }
            let value = |key: &str| case.split(&format!("{key}=\"")).nth(1).and_then(|rest| rest.split('"').next());
            let name = value("name").unwrap_or_default().replace("&#39;", "'").replace("&#34;", "'");
            let seconds = value("time").and_then(|text| text.parse().ok()).unwrap_or_default();
            let outcome = match case.split("<failure").nth(1) {
                None => Ok(()),
                Some(failure) => Err(anyhow::anyhow!("{}", failure.chars().take(600).collect::<String>())),
            };
            // What it is called ends by what it says; behind that are words by which specs are chosen.
            let said = name.split("[Feature").next().unwrap_or_default().rsplit(" should ").next().unwrap_or_default();
            specs.push((format!("e2e: should {}", said.trim()), seconds, outcome));
        }
    }
    Ok(specs)
}

/// Until it is stopped: every pod's network has the Services as they are.
fn stand_for_services(cluster: &Cluster, stop: &AtomicBool) {
    // What the network of each process has.
    let mut written: BTreeMap<i32, String> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        match services(cluster.kubectl()) {
            Ok(rules) => {
                let pods = cluster.nodes().iter().flat_map(super::node::Node::pods);
                written = pods.filter_map(|(process, pod)| give(process, &pod, &rules, &written)).collect();
            }
            Err(error) => say(&format!("Services are not told: {error:#}")),
        }
        thread::sleep(LOOK);
    }
}

/// Gives the network of a pod's process these rules, unless it has them.
fn give(process: i32, pod: &Namespace, rules: &str, written: &BTreeMap<i32, String>) -> Option<(i32, String)> {
    if written.get(&process).is_none_or(|before| before != rules) {
        let mut restore = pod.command("iptables-restore");
        restore.args(["--wait", "5"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A pod that goes takes its network with it.
        feed(restore, rules).ok()?;
    }
    Some((process, rules.to_owned()))
}

fn feed(mut command: Command, text: &str) -> Result<()> {
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes())?;
    }
    ensure!(child.wait()?.success(), "the rules are not taken");
    Ok(())
}

/// What to do with what is sent to Services, as `iptables-restore` reads it.
fn services(kubectl: &Kubectl) -> Result<String> {
    let items = |kind: &str| -> Result<Vec<Value>> {
        let list = kubectl.json(&["get", kind, "--all-namespaces"])?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    };
    let (services, endpoints) = (items("services")?, items("endpoints")?);
    let rules = services.iter().flat_map(|service| rules_of(service, &endpoints));
    Ok(format!("*nat\n:OUTPUT ACCEPT\n{}COMMIT\n", rules.collect::<Vec<_>>().concat()))
}

/// A rule for each port of a Service that has an endpoint.
fn rules_of(service: &Value, endpoints: &[Value]) -> Vec<String> {
    let Some(address) = service["spec"]["clusterIP"].as_str().filter(|address| *address != "None") else {
        return Vec::new();
    };
    let is_its = |it: &&Value| ["name", "namespace"].iter().all(|key| it["metadata"][key] == service["metadata"][key]);
    let subsets = endpoints.iter().find(is_its).and_then(|it| it["subsets"].as_array());
    let rule = |port: &Value| {
        let (backend, number) = subsets?.iter().find_map(|subset| {
            let address = subset["addresses"][0]["ip"].as_str()?;
            let number = subset["ports"].as_array()?.iter().find(|it| it["name"] == port["name"])?["port"].as_u64()?;
            Some((address, number))
        })?;
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_lowercase();
        let to = format!("-p {protocol} --dport {} -j DNAT --to-destination {backend}:{number}", port["port"]);
        (protocol != "sctp").then(|| format!("-A OUTPUT -d {address}/32 {to}\n"))
    };
    service["spec"]["ports"].as_array().into_iter().flatten().filter_map(rule).collect()
}
