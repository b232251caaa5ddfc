//! containerd with runc on one node, as a kubelet's node has it: a root and a socket of its own, in the network namespace of the node.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use andromede_testkit::{Fabric, Process, fabric::binary, wait};
use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{cni::PLUGINS, cri::Cri, image};

/// The plugins of the CNI project that are used: containerd sets the loopback up by one, and measurements compare with two.
const USED: [&str; 5] = ["loopback", "portmap", "tuning", "bridge", "host-local"];
/// How long it may take to begin.
const START: Duration = Duration::from_secs(20);

/// A node's containerd. Its pods end with it.
#[derive(Debug)]
pub struct Containerd {
    cri: Cri,
    process: Process,
    folder: PathBuf,
}

/// A handler of runtimes and the network configuration list that its pods get.
pub type Handler<'a> = (&'a str, Value);

impl Containerd {
    /// Starts it on host `h{number}` of a fabric, with a handler for each network. It has the image [`image::NAME`].
    pub fn start(fabric: &Fabric, number: u8, handlers: &[Handler<'_>]) -> Result<Self> {
        andromede_testkit::requires::require(&["containerd", "runc", "ctr", "busybox"])?;
        let agent = fabric.agent(number)?;
        let folder = agent.place().folder.join("containerd");
        for part in ["bin", "logs"] {
            fs::create_dir_all(folder.join(part))?;
        }
        for plugin in USED {
            let path = Path::new(PLUGINS).join(plugin);
            ensure!(path.is_file(), "{} is missing: apt-get install containernetworking-plugins", path.display());
            symlink(&path, folder.join("bin").join(plugin))?;
        }
        symlink(binary("andromede-cni")?, folder.join("bin/andromede-cni"))?;
        for (handler, list) in handlers {
            let lists = folder.join("net.d").join(handler);
            fs::create_dir_all(&lists)?;
            fs::write(lists.join("10-andromede.conflist"), list.to_string())?;
        }
        let names: Vec<&str> = handlers.iter().map(|(name, _)| *name).collect();
        fs::write(folder.join("config.toml"), settings(&folder, &names))?;

        // In the mount namespace of the agent: the agent finds a pod's namespace under the path by which containerd names it.
        let enter = |program: &str| {
            let mut command = agent.namespace().command(program);
            if let Some(pins) = &agent.place().pins {
                pins.enter(&mut command);
            }
            command
        };
        let mut command = enter("containerd");
        command.arg("--config").arg(folder.join("config.toml"));
        let process = Process::start(command, &folder.join("log"))?;
        let socket = folder.join("sock");
        let connect = || Cri::connect(&socket, &folder.join("logs")).ok().filter(Cri::is_ready);
        let cri = wait::until("containerd answers", START, connect).with_context(|| process.tail())?;
        let containerd = Self { cri, process, folder };
        containerd.load_image(enter("ctr"))?;
        Ok(containerd)
    }

    /// The interface by which a kubelet speaks to it.
    pub const fn cri(&self) -> &Cri {
        &self.cri
    }

    /// What it wrote last.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// Names of the network namespaces that its pods have.
    pub fn namespaces(&self) -> Result<Vec<String>> {
        let Ok(entries) = fs::read_dir(self.folder.join("state/netns")) else { return Ok(Vec::new()) };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn load_image(&self, mut ctr: Command) -> Result<()> {
        let archive = self.folder.join("image.tar");
        image::write(&self.folder, &archive)?;
        ctr.arg("--address").arg(self.folder.join("sock")).args(["--namespace", "k8s.io", "images", "import"]);
        let output = ctr.args(["--snapshotter", "native"]).arg(&archive).output().context("starting ctr")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the image is not taken: {stderr}\n{}", self.tail());
        Ok(())
    }

    /// Processes of pods that were not removed: of each its first one, and the shim that watches it.
    fn processes(&self) -> Vec<Pid> {
        let tasks = self.folder.join("state/io.containerd.runtime.v2.task/k8s.io");
        let entries = fs::read_dir(tasks).into_iter().flatten().flatten();
        let first = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("init.pid")).ok()?.trim().parse().ok();
        entries
            .filter_map(first)
            .flat_map(|first: i32| [Some(first), parent(first)])
            .flatten()
            .map(Pid::from_raw)
            .collect()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Whoever failed left some. What cannot be removed is ended.
        let _ = self.cri.remove_all();
        for process in self.processes() {
            // One that has ended meanwhile needs no ending.
            let _ = kill(process, Signal::SIGKILL);
        }
    }
}

/// The parent of a process, unless that is the machine's first.
fn parent(process: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().filter(|parent| *parent > 1)
}

/// Its settings. Those of the second part let it run where the machine is a container itself: it must not lower its score for the killer
/// of large processes, nor ask for a profile of `AppArmor`, and layers are copied, because an overlay does not lie on another.
fn settings(folder: &Path, handlers: &[&str]) -> String {
    let folder = folder.display();
    let runtime = |name: &&str| {
        format!(
            "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{name}]\n\
             runtime_type = \"io.containerd.runc.v2\"\n\
             cni_conf_dir = \"{folder}/net.d/{name}\"\ncni_max_conf_num = 1\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{name}.options]\nSystemdCgroup = false\n"
        )
    };
    let runtimes = handlers.iter().map(runtime).collect::<Vec<_>>().concat();
    let first = handlers.first().copied().unwrap_or_default();
    format!(
        "version = 2\nroot = \"{folder}/root\"\nstate = \"{folder}/state\"\n\
         [grpc]\naddress = \"{folder}/sock\"\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{folder}/opt\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{image}\"\n\
         netns_mounts_under_state_dir = true\ndisable_apparmor = true\nrestrict_oom_score_adj = true\n\
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"{folder}/bin\"\nconf_dir = \"{folder}/net.d/{first}\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\ndefault_runtime_name = \"{first}\"\n\
         {runtimes}",
        image = image::NAME
    )
}
