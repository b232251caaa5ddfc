//! The agent of one host.

use std::{net::Ipv4Addr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::{Control, Workload, binary};
use crate::{Namespace, Process, pins::Pins, process::Lifetime, underlay::UPLINK, wait};

/// How long an agent may take to offer its socket.
const START: Duration = Duration::from_mins(1);

/// Where an agent runs and what it is called.
#[derive(Clone, Debug)]
pub struct AgentPlace {
    /// Host name without "hosts/".
    pub name: String,
    /// Name of its pins.
    pub instance: String,
    /// Its network namespace; the underlay is [`UPLINK`].
    pub namespace: Namespace,
    /// Its bpffs, if it has one of its own; otherwise the folder `bpf` as it is.
    pub pins: Option<Pins>,
    /// Address of its tunnel endpoint.
    pub address: Ipv4Addr,
    /// Holds its state, its socket, its log and the mount point `bpf`.
    pub folder: PathBuf,
    /// "auto", "tcx" or "clsact".
    pub attachment: String,
    /// How long it may live.
    pub lifetime: Lifetime,
}

impl AgentPlace {
    /// Its local socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("agent.sock")
    }

    /// The agent's program, with what every sub-command needs, in its place.
    fn command(&self, program: PathBuf, verb: &str) -> Command {
        let mut command = self.namespace.command(program);
        if let Some(pins) = &self.pins {
            pins.enter(&mut command);
        }
        command.arg(verb).args(["--instance", &self.instance]);
        command.arg("--bpffs").arg(self.folder.join("bpf"));
        command.arg("--state").arg(self.folder.join("state"));
        command
    }
}

/// An agent that runs, or that was stopped and left its host forwarding.
#[derive(Debug)]
pub struct Agent {
    process: Option<Process>,
    place: AgentPlace,
}

impl Agent {
    /// Starts the agent of a place; it offers its socket when this returns.
    pub fn start(place: AgentPlace, control: &Control) -> Result<Self> {
        Self::start_as(binary("andromede-agent")?, place, control)
    }

    /// Starts this build of the agent.
    pub fn start_as(program: PathBuf, place: AgentPlace, control: &Control) -> Result<Self> {
        let mut agent = Self { process: None, place };
        agent.resume_as(program, control)?;
        Ok(agent)
    }

    /// Where it runs.
    pub const fn place(&self) -> &AgentPlace {
        &self.place
    }

    /// Its network namespace.
    pub const fn namespace(&self) -> &Namespace {
        &self.place.namespace
    }

    /// Process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Leaves it running for good.
    pub fn leave(&mut self) {
        self.process.take().map(Process::leave).unwrap_or_default();
    }

    /// What it wrote last.
    pub fn tail(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }

    /// All that it wrote since its host was made.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Ends it by a signal; the host goes on forwarding.
    pub fn stop(&mut self, signal: Signal) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            let status = process.end(signal)?;
            ensure!(
                signal != Signal::SIGTERM || status.success(),
                "the agent of {} ended badly: {status}",
                self.place.name
            );
        }
        Ok(())
    }

    /// Starts it again.
    pub fn resume(&mut self, control: &Control) -> Result<()> {
        self.resume_as(binary("andromede-agent")?, control)
    }

    /// Starts another build of it.
    pub fn resume_as(&mut self, program: PathBuf, control: &Control) -> Result<()> {
        let place = &self.place;
        let mut command = place.command(program, "run");
        command.args(["--host", &place.name, "--controller", &Control::url(), "--underlay", UPLINK]);
        command.arg("--tls-ca").arg(control.authority());
        command.arg("--tls-cert").arg(control.certificate("host", &place.name));
        command.arg("--tls-key").arg(control.key("host", &place.name));
        command.arg("--socket").arg(place.socket()).args(["--attachment", &place.attachment]);
        let mut process = Process::start_for(command, &place.folder.join("agent.log"), place.lifetime)?;
        let up = wait::until("the agent answers on its socket", START, || {
            process.check().err().map(Err).or_else(|| self.status(control).ok().map(|_| Ok(())))
        });
        up.with_context(|| process.tail())??;
        self.process = Some(process);
        Ok(())
    }

    /// `andromedectl host VERB` on its socket.
    fn local(&self, verb: &str, arguments: &[&str], control: &Control) -> Result<String> {
        let mut command = control.command_as("user", "admin")?;
        command.args(["host", verb, "--socket"]).arg(self.place.socket()).args(arguments);
        let output = command.output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "`andromedectl host {verb} {}` failed: {stderr}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What it says about itself, as JSON.
    pub fn status(&self, control: &Control) -> Result<serde_json::Value> {
        let text = self.local("status", &["-o", "json"], control)?;
        serde_json::from_str(&text).with_context(|| format!("the agent's status is {text:?}"))
    }

    /// Attaches a workload to its port.
    pub fn attach(&self, workload: &Workload, control: &Control) -> Result<()> {
        let netns = workload.namespace().path();
        let netns = netns.to_str().context("a path in /proc is text")?;
        self.local("attach", &["--port", workload.port(), "--netns", netns], control).map(drop)
    }

    /// Detaches the workload of a port.
    pub fn detach(&self, port: &str, control: &Control) -> Result<()> {
        self.local("detach", &["--port", port], control).map(drop)
    }

    /// Takes away what a reboot would, of a stopped agent with a bpffs of its own: programs, tables and interfaces.
    pub fn reboot(&mut self) -> Result<()> {
        ensure!(self.process.is_none() && self.place.pins.is_some(), "the agent must be stopped, and own its bpffs");
        let namespace = &self.place.namespace;
        let output = namespace.exec("ip -o link show")?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let name = line.split(": ").nth(1).and_then(|name| name.split('@').next()).unwrap_or_default();
            if !["lo", UPLINK, ""].contains(&name) {
                // An interface may go by itself meanwhile: with the namespace of its workload, which the kernel takes down in its own time.
                let deleted = namespace.ip(&format!("link delete {name}"));
                if namespace.exec(&format!("ip link show dev {name}")).is_ok() {
                    deleted?;
                }
            }
        }
        // There is none unless programs are attached by filters.
        let _ = namespace.exec(&format!("tc qdisc delete dev {UPLINK} clsact"));
        self.place.pins = Some(Pins::new(&self.place.folder.join("bpf"))?);
        Ok(())
    }

    /// Removes every program, pin and interface of a stopped agent.
    pub fn cleanup(&mut self) -> Result<()> {
        self.stop(Signal::SIGTERM)?;
        let output = self.place.command(binary("andromede-agent")?, "cleanup").output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "cleaning up {} failed: {stderr}", self.place.name);
        Ok(())
    }
}
