//! podman on one node, with its networks by the CNI plugin.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use andromede_testkit::{Namespace, fabric::Agent, fabric::binary, pins::Pins};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::image;

/// A node's podman, with a store of its own. Its containers are removed with it.
#[derive(Debug)]
pub struct Podman {
    namespace: Namespace,
    pins: Option<Pins>,
    folder: PathBuf,
}

impl Podman {
    /// On the node of an agent, with one network; its name is that of the list. It has the image [`image::NAME`].
    pub fn new(agent: &Agent, list: &Value) -> Result<Self> {
        andromede_testkit::requires::require(&["podman", "conmon", "runc", "busybox"])?;
        let folder = agent.place().folder.join("podman");
        for part in ["bin", "net.d"] {
            fs::create_dir_all(folder.join(part))?;
        }
        symlink(binary("andromede-cni")?, folder.join("bin/andromede-cni"))?;
        fs::write(folder.join("net.d/10-andromede.conflist"), list.to_string())?;
        fs::write(folder.join("policy.json"), json!({"default": [{"type": "insecureAcceptAnything"}]}).to_string())?;
        fs::write(folder.join("containers.conf"), settings(&folder))?;
        fs::write(folder.join("storage.conf"), storage(&folder))?;
        let podman = Self { namespace: agent.namespace().clone(), pins: agent.place().pins.clone(), folder };
        let archive = podman.folder.join("image.tar");
        image::write(&podman.folder, &archive)?;
        let policy = podman.folder.join("policy.json").display().to_string();
        podman.run(&["load", "--quiet", "--signature-policy", &policy, "--input", &archive.display().to_string()])?;
        Ok(podman)
    }

    /// Runs podman; what it wrote.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command().args(arguments).output().context("starting podman")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "podman {}: {stderr}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// In the mount namespace of the agent, which finds a container's namespace under the path by which podman names it.
    fn command(&self) -> Command {
        let mut command = self.namespace.command("podman");
        if let Some(pins) = &self.pins {
            pins.enter(&mut command);
        }
        command.env("CONTAINERS_CONF", self.folder.join("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.folder.join("storage.conf"));
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Nobody is left to tell, should it fail.
        let _ = self.run(&["rm", "--force", "--all", "--time", "0"]);
    }
}

fn settings(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n\
         [network]\nnetwork_backend = \"cni\"\ncni_plugin_dirs = [\"{folder}/bin\"]\nnetwork_config_dir = \"{folder}/net.d\"\n\
         [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nruntime = \"runc\"\ntmp_dir = \"{folder}/tmp\"\n"
    )
}

fn storage(folder: &Path) -> String {
    let folder = folder.display();
    format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{folder}/root\"\nrunroot = \"{folder}/run\"\n")
}
