//! A whole fabric of the real programs: a controller, and an agent for each host.

mod agent;
mod binaries;
mod control;
mod workload;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

pub use agent::{Agent, AgentPlace};
pub use binaries::binary;
pub use control::{CONTROLLER_NUMBER, CONTROLLER_PORT, Control};
pub use workload::{INTERFACE, Workload};

use crate::{Underlay, pins::Pins, process::Lifetime, requires, underlay};

/// How long a change may take until every host has applied it.
pub const IN_FORCE: Duration = Duration::from_mins(1);

/// What a fabric is made of.
#[derive(Clone, Copy, Debug)]
pub struct FabricOptions {
    /// Hosts: `h1` to `hN` with the tunnel endpoints 192.0.2.1 to 192.0.2.N.
    pub hosts: u8,
    /// MTU of the underlay in bytes.
    pub mtu: u32,
    /// How programs are attached: "auto", "tcx" or "clsact".
    pub attachment: &'static str,
    /// What the controller logs, as `ANDROMEDE_LOG` says it.
    pub log: &'static str,
}

impl Default for FabricOptions {
    fn default() -> Self {
        Self { hosts: 2, mtu: underlay::MTU_DEFAULT, attachment: "auto", log: "info" }
    }
}

/// A running fabric. Everything ends with this value.
#[derive(Debug)]
pub struct Fabric {
    // Programs end before their namespaces and folders go.
    agents: Vec<Agent>,
    control: Control,
    underlay: Underlay,
    folder: TempDir,
}

impl Fabric {
    /// Starts the controller and all agents; no resource exists yet but the hosts.
    pub fn start(options: FabricOptions) -> Result<Self> {
        requires::require(&["ip", "tc"])?;
        let folder = tempfile::Builder::new().prefix("andromede-test-").tempdir()?;
        let mut underlay = Underlay::new(options.mtu)?;
        let place = underlay.join(CONTROLLER_NUMBER)?;
        let control = Control::start(place, folder.path(), Lifetime::Parent, options.log)?;
        control.apply(&hosts_bundle(options.hosts))?;
        let mut fabric = Self { agents: Vec::new(), control, underlay, folder };
        for number in 1..=options.hosts {
            fabric.add_host(number, options.attachment)?;
        }
        Ok(fabric)
    }

    fn add_host(&mut self, number: u8, attachment: &str) -> Result<()> {
        let name = format!("h{number}");
        let folder = self.folder.path().join(&name);
        std::fs::create_dir_all(folder.join("bpf"))?;
        let place = AgentPlace {
            namespace: self.underlay.join(number)?,
            pins: Some(Pins::new(&folder.join("bpf"))?),
            instance: name.clone(),
            address: Underlay::address(number),
            folder,
            attachment: attachment.to_owned(),
            lifetime: Lifetime::Parent,
            name,
        };
        self.control.issue("host", &place.name, &[])?;
        let agent = Agent::start(place, &self.control).with_context(|| format!("starting the agent of h{number}"))?;
        self.agents.push(agent);
        Ok(())
    }

    /// The controller and the command line that talks to it.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The same, to stop and start it.
    pub const fn control_mut(&mut self) -> &mut Control {
        &mut self.control
    }

    /// The agent of host `h{number}`.
    pub fn agent(&self, number: u8) -> Result<&Agent> {
        self.agents.get(usize::from(number).wrapping_sub(1)).with_context(|| format!("there is no host h{number}"))
    }

    /// The same, to stop and start it.
    pub fn agent_mut(&mut self, number: u8) -> Result<&mut Agent> {
        self.agents.get_mut(usize::from(number).wrapping_sub(1)).with_context(|| format!("there is no host h{number}"))
    }

    /// Starts the agent of host `h{number}` again.
    pub fn resume_agent(&mut self, number: u8) -> Result<()> {
        self.resume_agent_as(number, binary("andromede-agent")?)
    }

    /// Starts another build of it.
    pub fn resume_agent_as(&mut self, number: u8, program: PathBuf) -> Result<()> {
        let agent = self.agents.get_mut(usize::from(number).wrapping_sub(1));
        agent.with_context(|| format!("there is no host h{number}"))?.resume_as(program, &self.control)
    }

    /// Takes away what a reboot would: the programs, tables and interfaces of host `h{number}`, whose agent was stopped.
    pub fn forget_kernel_state(&mut self, number: u8) -> Result<()> {
        self.agent_mut(number)?.reboot()
    }

    /// All agents, in the order of their hosts.
    pub fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// The segment between the hosts.
    pub const fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// The same, to plug strangers into it.
    pub const fn underlay_mut(&mut self) -> &mut Underlay {
        &mut self.underlay
    }

    /// A folder that is removed with the fabric.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Applies a bundle and waits until every host reports it.
    pub fn apply(&self, bundle: &str) -> Result<()> {
        self.control.apply(bundle)?;
        self.wait_in_force()
    }

    /// Waits until every host has applied what it should.
    pub fn wait_in_force(&self) -> Result<()> {
        self.control.wait_in_force(self.agents.len(), IN_FORCE).with_context(|| self.logs())
    }

    /// Makes a workload and attaches it to a port of host `h{number}`.
    pub fn attach(&self, number: u8, port: &str) -> Result<Workload> {
        let workload = Workload::new(port)?;
        self.agent(number)?.attach(&workload, &self.control).with_context(|| self.logs())?;
        Ok(workload)
    }

    /// The last lines of every program.
    pub fn logs(&self) -> String {
        let of = |agent: &Agent| format!("agent of {}:\n{}", agent.place().name, agent.tail());
        let agents: Vec<String> = self.agents.iter().map(of).collect();
        format!("controller:\n{}{}", self.control.tail(), agents.concat())
    }
}

/// The hosts `h1` to `hN` at 192.0.2.1 to 192.0.2.N, as a bundle.
pub fn hosts_bundle(count: u8) -> String {
    let of = |number: u8| {
        format!("---\nkind: Host\nname: hosts/h{number}\nunderlayAddress: {}\n", Underlay::address(number))
    };
    (1..=count).map(of).collect::<Vec<_>>().concat()
}
