//! containerd with everything of its own in one folder, so that several run on one machine and none meets the machine's.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use nix::{
    sys::{
        signal::{Signal, kill},
        statfs::{OVERLAYFS_SUPER_MAGIC, statfs},
    },
    unistd::Pid,
};

use crate::fabric::binary;

/// Where Debian keeps the plugins of the CNI project.
pub const PLUGINS: &str = "/usr/lib/cni";

/// Where one containerd has its things. Plugins are in `bin`, lists of a handler in `net.d/HANDLER`, the socket is `sock`.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
    snapshotter: &'static str,
}

impl Place {
    /// In this folder. Layers of images are copied, which works everywhere.
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder, snapshotter: "native" }
    }

    /// In this folder. Layers of images lie on one another, if the file system bears that: an overlay does not lie on another.
    pub fn layered(folder: PathBuf) -> Self {
        let is_overlay = statfs(&folder).is_ok_and(|found| found.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
        Self { folder, snapshotter: if is_overlay { "native" } else { "overlayfs" } }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("sock")
    }

    /// What becomes of layers of images.
    pub const fn snapshotter(&self) -> &'static str {
        self.snapshotter
    }

    /// Puts our plugin where it looks for them, and these of the CNI project.
    pub fn link_plugins(&self, others: &[&str]) -> Result<()> {
        let to = self.folder.join("bin");
        fs::create_dir_all(&to)?;
        for plugin in others {
            let path = Path::new(PLUGINS).join(plugin);
            ensure!(path.is_file(), "{} is missing: apt-get install containernetworking-plugins", path.display());
            symlink(&path, to.join(plugin))?;
        }
        Ok(symlink(binary("andromede-cni")?, to.join("andromede-cni"))?)
    }

    /// Its settings, with a handler for each network; a sandbox runs this image. Those of the second part let it run where the machine is
    /// a container itself: it must not lower its score for the killer of large processes, nor ask for a profile of `AppArmor`.
    pub fn settings(&self, handlers: &[&str], image: &str) -> String {
        let folder = self.folder.display();
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
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"{snapshotter}\"\n\
             default_runtime_name = \"{first}\"\n{runtimes}",
            snapshotter = self.snapshotter,
        )
    }

    /// The first process of each container that runs.
    pub fn first_processes(&self) -> Vec<i32> {
        let tasks = self.folder.join("state/io.containerd.runtime.v2.task/k8s.io");
        let entries = fs::read_dir(tasks).into_iter().flatten().flatten();
        let first = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("init.pid")).ok()?.trim().parse().ok();
        entries.filter_map(first).collect()
    }

    /// Ends the containers that were not removed: of each its first process, and the shim that watches it.
    pub fn end_containers(&self) {
        for first in self.first_processes() {
            for process in [Some(first), parent(first)].into_iter().flatten() {
                // One that has ended meanwhile needs no ending.
                let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
            }
        }
    }
}

/// The parent of a process, unless that is the machine's first.
fn parent(process: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().filter(|parent| *parent > 1)
}
