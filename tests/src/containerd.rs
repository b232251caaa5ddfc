//! containerd with runc on one node, as a kubelet's node has it: a root and a socket of its own, in the network namespace of the node.

use std::{fs, process::Command, time::Duration};

use andromede_testkit::{Fabric, Process, containerd::Place, wait};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{cri::Cri, image};

/// The plugins of the CNI project that are used: containerd sets the loopback up by one, and measurements compare with two.
const USED: [&str; 5] = ["loopback", "portmap", "tuning", "bridge", "host-local"];
/// How long it may take to begin.
const START: Duration = Duration::from_secs(20);

/// A node's containerd. Its pods end with it.
#[derive(Debug)]
pub struct Containerd {
    cri: Cri,
    process: Process,
    place: Place,
}

/// A handler of runtimes and the network configuration list that its pods get.
pub type Handler<'a> = (&'a str, Value);

impl Containerd {
    /// Starts it on host `h{number}` of a fabric, with a handler for each network. It has the image [`image::NAME`].
    pub fn start(fabric: &Fabric, number: u8, handlers: &[Handler<'_>]) -> Result<Self> {
        andromede_testkit::requires::require(&["containerd", "runc", "ctr", "busybox"])?;
        let agent = fabric.agent(number)?;
        let folder = agent.place().folder.join("containerd");
        fs::create_dir_all(folder.join("logs"))?;
        let place = Place::new(folder.clone());
        place.link_plugins(&USED)?;
        for (handler, list) in handlers {
            let lists = folder.join("net.d").join(handler);
            fs::create_dir_all(&lists)?;
            fs::write(lists.join("10-andromede.conflist"), list.to_string())?;
        }
        let names: Vec<&str> = handlers.iter().map(|(name, _)| *name).collect();
        fs::write(folder.join("config.toml"), place.settings(&names, image::NAME))?;

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
        let socket = place.socket();
        let connect = || Cri::connect(&socket, &folder.join("logs")).ok().filter(Cri::is_ready);
        let cri = wait::until("containerd answers", START, connect).with_context(|| process.tail())?;
        let containerd = Self { cri, process, place };
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
        let Ok(entries) = fs::read_dir(self.place.folder().join("state/netns")) else { return Ok(Vec::new()) };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn load_image(&self, mut ctr: Command) -> Result<()> {
        let archive = self.place.folder().join("image.tar");
        image::write(self.place.folder(), &archive)?;
        ctr.arg("--address").arg(self.place.socket()).args(["--namespace", "k8s.io", "images", "import"]);
        let output =
            ctr.args(["--snapshotter", self.place.snapshotter()]).arg(&archive).output().context("starting ctr")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the image is not taken: {stderr}\n{}", self.tail());
        Ok(())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Whoever failed left some. What cannot be removed is ended.
        let _ = self.cri.remove_all();
        self.place.end_containers();
    }
}
