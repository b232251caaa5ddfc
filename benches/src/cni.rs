//! What it costs to give a container its network and to take it away: Andromède's plugin beside Debian's `bridge` with `host-local`.
//!
//! Both are called as a runtime calls them, by environment and standard input, in turns: a moment in which the machine was busy weighs
//! on both.

mod sandbox;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use andromede_testkit::{
    Fabric, FabricOptions, Namespace,
    fabric::{binary, hosts_bundle},
};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    report::{Machine, Report, Row, figure},
    statistics::{quantile, ratio},
};

/// What is compared.
const CONFIGS: [&str; 2] = ["andromede", "bridge"];
/// Pause after each call: what a plugin leaves to the kernel after its answer, as a removed interface is, is not for the next to wait for.
const REST: Duration = Duration::from_millis(100);
/// Rules of the pods' security group.
const RULES: u32 = 1;

/// What to measure.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Containers for each of the two.
    #[arg(long, default_value_t = 100)]
    count: u16,
    /// Pods of containerd for each of the two; 0 for none.
    #[arg(long, default_value_t = 20)]
    sandboxes: u16,
    /// Folder of the plugins `bridge` and `host-local` (Debian: containernetworking-plugins).
    #[arg(long, default_value = "/usr/lib/cni")]
    plugins: PathBuf,
    /// Write the figures as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One plugin with its configuration and the host that it works on.
struct Plugin {
    program: PathBuf,
    /// `CNI_PATH`: where it finds other plugins.
    path: PathBuf,
    configuration: Value,
    host: Namespace,
    add_ms: Vec<f64>,
    del_ms: Vec<f64>,
    /// Of containerd.
    sandbox_ms: Vec<f64>,
}

impl Plugin {
    fn call(&self, command: &str, id: &str, container: &Namespace) -> Result<Duration> {
        let mut plugin = self.host.command(&self.program);
        plugin.env("CNI_COMMAND", command).env("CNI_CONTAINERID", id).env("CNI_IFNAME", "eth0");
        plugin.env("CNI_NETNS", container.path()).env("CNI_PATH", &self.path);
        let begun = Instant::now();
        let mut child = plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting the plugin")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(self.configuration.to_string().as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let took = begun.elapsed();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{} {command}: {said}", self.program.display());
        Ok(took)
    }
}

/// Measures, prints and writes.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        arguments.plugins.join("bridge").is_file(),
        "there is no plugin bridge in {}: apt-get install containernetworking-plugins, or say --plugins",
        arguments.plugins.display()
    );
    let fabric = Fabric::start(FabricOptions { hosts: 1, ..FabricOptions::default() })?;
    fabric.apply(&bundle())?;
    let mut plugins = [andromede(&fabric)?, bridge(&arguments.plugins, fabric.folder())?];
    for number in 0..arguments.count {
        for plugin in &mut plugins {
            let (id, container) = (format!("c{number}"), Namespace::new()?);
            plugin.add_ms.push(milliseconds(plugin.call("ADD", &id, &container)?));
            thread::sleep(REST);
            plugin.del_ms.push(milliseconds(plugin.call("DEL", &id, &container)?));
            thread::sleep(REST);
        }
    }
    if arguments.sandboxes > 0 {
        let configurations = plugins.each_ref().map(|plugin| plugin.configuration.clone());
        for (plugin, took) in plugins.iter_mut().zip(sandbox::measure(&fabric, &configurations, arguments.sandboxes)?) {
            plugin.sandbox_ms = took;
        }
    }
    let rows = rows(&plugins);
    print(&rows, &plugins);
    let report = Report { machine: Machine::this(), rows, ratios: Vec::new() };
    arguments.json.as_deref().map_or(Ok(()), |path| report.write(path))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn bundle() -> String {
    let network = "tenants/bench/networks/pods";
    format!(
        "{}---\nkind: Tenant\nname: tenants/bench\n---\nkind: Network\nname: {network}\n---\nkind: Subnet\n\
         name: {network}/subnets/h1\ncidr: 10.1.0.0/20\nhost: hosts/h1\n---\nkind: SecurityGroup\n\
         name: {network}/securityGroups/pods\nrules:\n  - {{name: any, direction: ingress, action: allow}}\n",
        hosts_bundle(1)
    )
}

fn andromede(fabric: &Fabric) -> Result<Plugin> {
    let agent = fabric.agent(1)?;
    let configuration = json!({"cniVersion": "1.0.0", "name": "bench", "type": "andromede-cni",
        "network": "tenants/bench/networks/pods", "securityGroups": ["pods"], "socket": agent.place().socket()});
    Ok(plugin(binary("andromede-cni")?, Path::new("/nonexistent"), configuration, agent.namespace().clone()))
}

/// Debian's plugins on a host of their own.
fn bridge(folder: &Path, state: &Path) -> Result<Plugin> {
    let configuration = json!({"cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": "cni0", "isGateway": true,
        "ipam": {"type": "host-local", "dataDir": state.join("host-local"), "routes": [{"dst": "0.0.0.0/0"}],
            "ranges": [[{"subnet": "10.2.0.0/20"}]]}});
    // The bridge itself is made by the first call, and stays.
    Ok(plugin(folder.join("bridge"), folder, configuration, Namespace::new()?))
}

fn plugin(program: PathBuf, path: &Path, configuration: Value, host: Namespace) -> Plugin {
    let (add_ms, del_ms, sandbox_ms) = (Vec::new(), Vec::new(), Vec::new());
    Plugin { program, path: path.to_owned(), configuration, host, add_ms, del_ms, sandbox_ms }
}

fn rows(plugins: &[Plugin; 2]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (config, plugin) in CONFIGS.iter().zip(plugins) {
        rows.push(Row::new("cni_add_p50_ms", config, RULES, &plugin.add_ms));
        let p99 =
            Row { median: quantile(&plugin.add_ms, 0.99), ..Row::new("cni_add_p99_ms", config, RULES, &plugin.add_ms) };
        rows.push(p99);
        rows.push(Row::new("cni_del_p50_ms", config, RULES, &plugin.del_ms));
        if !plugin.sandbox_ms.is_empty() {
            rows.push(Row::new("run_pod_sandbox_p50_ms", config, RULES, &plugin.sandbox_ms));
        }
    }
    rows
}

fn print(rows: &[Row], [ours, theirs]: &[Plugin; 2]) {
    for row in rows {
        println!(
            "{:<22} {:<10} {:>8}  ({} to {}, n {})",
            row.metric,
            row.config,
            figure(row.median),
            figure(row.min),
            figure(row.max),
            row.n
        );
    }
    for (metric, of, to) in [
        ("cni_add_p50_ms", &ours.add_ms, &theirs.add_ms),
        ("cni_del_p50_ms", &ours.del_ms, &theirs.del_ms),
        ("run_pod_sandbox_p50_ms", &ours.sandbox_ms, &theirs.sandbox_ms),
    ] {
        if let Some(ratio) = ratio(of, to) {
            println!("{metric}: {:.2} of bridge + host-local ({:.2} to {:.2})", ratio.value, ratio.low, ratio.high);
        }
    }
}
