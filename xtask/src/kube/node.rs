//! A node: containerd, kubelet and kube-proxy, where the agent of its host runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use andromede_testkit::{Namespace, Process, containerd::Place, fabric::Agent, pins::Pins, wait};
use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use super::cache::{Cache, PAUSE};

/// The plugins of the CNI project that are used: containerd sets the loopback up by one, and host ports are the other's.
const USED: [&str; 2] = ["loopback", "portmap"];
/// How long containerd may take to begin.
const START: Duration = Duration::from_secs(30);

/// What a kubelet sets for its whole machine, and here must not: it finds what it wants in files that lie over them.
const KERNEL_SETTINGS: [(&str, &str); 3] =
    [("vm/overcommit_memory", "1"), ("kernel/panic", "10"), ("kernel/panic_on_oops", "1")];

/// A node of the cluster. It ends with this value, and its pods with it.
#[derive(Debug)]
pub(super) struct Node {
    // Ended in this order.
    kubelet: Process,
    proxy: Option<Process>,
    containerd: Process,
    place: Place,
    name: String,
    namespace: Namespace,
    pins: Pins,
}

impl Node {
    /// Starts the node on the host of an agent, whose pods are in the network that the list names.
    pub(super) fn start(cache: &Cache, agent: &Agent, list: &Value, kubeconfig: &Path) -> Result<Self> {
        let (name, address) = (agent.place().name.clone(), agent.place().address);
        let pins = agent.place().pins.clone().context("the host has no place for mounts")?;
        let folder = agent.place().folder.join("node");
        for part in ["net.d/runc", "logs", "kubelet", "settings"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let place = Place::layered(folder.clone());
        place.link_plugins(&USED)?;
        fs::write(folder.join("net.d/runc/10-andromede.conflist"), list.to_string())?;
        keep_settings(&pins, &folder.join("settings"))?;
        agent.namespace().run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;

        fs::write(folder.join("config.toml"), place.settings(&["runc"], PAUSE))?;
        let enter = |program: &Path| {
            let mut command = agent.namespace().command(program);
            pins.enter(&mut command);
            command
        };
        let mut command = enter(Path::new("containerd"));
        command.arg("--config").arg(folder.join("config.toml"));
        let containerd = Process::start(command, &folder.join("containerd.log"))?;
        let ctr = |arguments: &[&str]| -> Result<()> {
            let mut command = enter(Path::new("ctr"));
            let output = command
                .arg("--address")
                .arg(place.socket())
                .args(["--namespace", "k8s.io"])
                .args(arguments)
                .output()?;
            ensure!(output.status.success(), "ctr: {}", String::from_utf8_lossy(&output.stderr).trim());
            Ok(())
        };
        let answers = || ctr(&["version"]).ok();
        wait::until("containerd answers", START, answers).with_context(|| containerd.tail())?;
        for archive in cache.archives() {
            let archive = archive.to_str().context("a path that is no text")?;
            ctr(&["images", "import", "--snapshotter", place.snapshotter(), archive])?;
        }
        let settings = folder.join("kubelet.json");
        fs::write(&settings, kubelet_settings().to_string())?;
        let mut command = enter(&cache.program("kubelet"));
        command.arg("--config").arg(settings).arg("--kubeconfig").arg(kubeconfig);
        command.args([format!("--hostname-override={name}"), format!("--node-ip={address}")]);
        command.args(["--container-runtime=remote", "--v=2"]);
        command.arg(format!("--container-runtime-endpoint=unix://{}", place.socket().display()));
        command.arg(format!("--root-dir={}", folder.join("kubelet").display()));
        command.arg(format!("--cert-dir={}", folder.join("kubelet/pki").display()));
        let kubelet = Process::start(command, &folder.join("kubelet.log"))?;
        let namespace = agent.namespace().clone();
        Ok(Self { kubelet, proxy: None, containerd, place, name, namespace, pins })
    }

    /// Starts kube-proxy.
    pub(super) fn start_proxy(&mut self, cache: &Cache, kubeconfig: &Path, pods: &str) -> Result<()> {
        let mut command = self.command(&cache.program("kube-proxy"));
        command.arg("--kubeconfig").arg(kubeconfig).arg(format!("--hostname-override={}", self.name));
        command.args(["--proxy-mode=iptables", "--conntrack-max-per-core=0", "--conntrack-min=0"]);
        command.args(["--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"]);
        command.arg(format!("--cluster-cidr={pods}"));
        self.proxy = Some(Process::start(command, &self.place.folder().join("proxy.log"))?);
        Ok(())
    }

    /// A command on the node.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = self.namespace.command(program);
        self.pins.enter(&mut command);
        command
    }

    /// Its network.
    pub(super) const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Name of the node.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The network namespaces of its pods, each with a process of its container: the number of a namespace recurs at once, that of a process
    /// does not.
    pub(super) fn pods(&self) -> Vec<(i32, Namespace)> {
        let open = |first: i32| Namespace::open(&PathBuf::from(format!("/proc/{first}/ns/net"))).ok();
        self.place.first_processes().into_iter().filter_map(|first| Some((first, open(first)?))).collect()
    }

    /// An error if a part of it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        self.kubelet.check()?;
        if let Some(proxy) = &mut self.proxy {
            proxy.check()?;
        }
        self.containerd.check()
    }

    /// What its parts wrote last.
    pub(super) fn tail(&self) -> String {
        format!("kubelet of {}:\n{}containerd:\n{}", self.name, self.kubelet.tail(), self.containerd.tail())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Before containers are ended nobody may be there who starts them anew.
        let _ = self.kubelet.end(nix::sys::signal::Signal::SIGTERM);
        let _ = self.containerd.end(nix::sys::signal::Signal::SIGTERM);
        self.place.end_containers();
    }
}

/// Lays files over the settings of the machine that a kubelet would change, for those in this mount namespace.
fn keep_settings(pins: &Pins, folder: &Path) -> Result<()> {
    let none = None::<&str>;
    pins.run(|| -> Result<()> {
        // Runtimes hand mounts on to containers, within this namespace.
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none).context("sharing mounts")?;
        for (setting, value) in KERNEL_SETTINGS {
            let file = folder.join(setting.replace('/', "-"));
            fs::write(&file, format!("{value}\n"))?;
            let over = Path::new("/proc/sys").join(setting);
            mount(Some(&file), &over, none, MsFlags::MS_BIND, none).with_context(|| format!("keeping {setting}"))?;
        }
        Ok(())
    })?
}

/// The settings of a kubelet that leaves the machine's groups of processes and its firewall as they are.
fn kubelet_settings() -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs", "cgroupsPerQOS": false, "enforceNodeAllocatable": [],
        "failSwapOn": false, "oomScoreAdj": 0, "makeIPTablesUtilChains": false, "resolvConf": "",
        "hairpinMode": "none", "registerNode": true, "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
        "nodeStatusUpdateFrequency": "2s",
        // As later versions have it: by default one of 1.20 tells of five changes a second.
        "kubeAPIQPS": 50, "kubeAPIBurst": 100,
        // Nobody resolves names here; without it every pod has an Event.
        "clusterDNS": ["10.96.0.10"],
    })
}
