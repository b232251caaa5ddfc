//! `./x kube`: a real Kubernetes whose only network is Andromède: etcd, API server, controllers, scheduler, two nodes with containerd and
//! kubelet, the operator under the rights of its manifest. Everything is in namespaces that end with this process.

mod cache;
mod checks;
mod cluster;
mod control_plane;
mod e2e;
mod kubectl;
mod node;
mod operator;

use std::{thread, time::Duration};

use andromede_testkit::{interrupt, requires};
use anyhow::{Result, bail};

use crate::workspace;

/// Tools of the machine: Debian's packages of the same or a similar name.
const TOOLS: &[&str] =
    &["ip", "tc", "containerd", "ctr", "runc", "busybox", "iptables", "openssl", "make", "gcc", "dpkg-source", "nice"];

/// Options of `./x kube`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run the NetworkPolicy specs of Kubernetes' own suite too (29 without SCTP; some minutes), or those whose name matches EXPRESSION.
    #[arg(long, value_name = "EXPRESSION", num_args = 0..=1, require_equals = true, default_missing_value = e2e::FOCUS)]
    e2e: Option<String>,
    /// Leave the cluster running until Ctrl-C, and print how to use it.
    #[arg(long)]
    keep: bool,
    /// `kubernetes`: build it, and start nothing. `nothing`: the programs of this repository were built before.
    #[arg(long, value_enum)]
    build: Option<Build>,
    /// Run only checks whose name has this in it.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// What is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Build {
    /// Kubernetes; no cluster is started.
    Kubernetes,
    /// Nothing of this repository: its programs were built before.
    Nothing,
}

/// Runs the cluster and its checks.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let missing = requires::missing(TOOLS);
    if !missing.is_empty() {
        bail!("a cluster cannot run on this machine, which lacks:\n  - {}", missing.join("\n  - "));
    }
    let cache = cache::Cache::fill(arguments.e2e.is_some())?;
    if arguments.build == Some(Build::Kubernetes) {
        return Ok(());
    }
    if arguments.build != Some(Build::Nothing) {
        say("building (the first time takes minutes)");
        workspace::run(&mut workspace::cargo(&["build", "--bins", "--locked"]))?;
    }
    interrupt::install()?;
    let mut cluster = cluster::Cluster::start(&cache)?;
    let mut report = checks::Report::new(arguments.only.clone());
    checks::run(&mut cluster, &cache, &mut report);
    if let Some(focus) = &arguments.e2e
        && interrupt::check().is_ok()
    {
        e2e::run(&cluster, &cache, focus, &mut report);
    }
    if report.has_failed() {
        println!("{}", cluster.logs());
    }
    if arguments.keep {
        keep(&cluster);
    }
    drop(cluster);
    report.close()
}

/// Waits until the user has seen enough.
fn keep(cluster: &cluster::Cluster) {
    let mut command = cluster.kubectl().command();
    command.args(["get", "pods", "--all-namespaces"]);
    let words: Vec<String> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    println!(
        "kube: it goes on running until Ctrl-C. Try:\n  nsenter --net={} {} {}",
        cluster.fabric().control().namespace().path().display(),
        command.get_program().to_string_lossy(),
        words.join(" ")
    );
    while interrupt::check().is_ok() {
        thread::sleep(Duration::from_millis(200));
    }
}

/// Tells what is being done.
fn say(what: &str) {
    println!("kube: {what}");
}
