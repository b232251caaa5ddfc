//! The fabric of the demo: the real programs in named namespaces.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use andromede_testkit::{
    Namespace, Underlay,
    fabric::{Agent, AgentPlace, CONTROLLER_NUMBER, Control, Workload, binary},
    interrupt,
    pins::Pins,
    process::Lifetime,
    underlay::MTU_DEFAULT,
};
use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{expect, place, say};
use crate::workspace;

/// How many hosts there are.
const HOSTS: u8 = 3;

/// How long a bundle may take to be in force everywhere.
const IN_FORCE: Duration = Duration::from_secs(30);

/// A port of the example and its workload.
#[derive(Debug)]
pub(super) struct Port {
    /// Tenant without "tenants/".
    pub(super) tenant: String,
    /// Last part of its name.
    pub(super) short: String,
    /// Host without "hosts/".
    pub(super) host: String,
    /// Main IPv4 address.
    pub(super) v4: Ipv4Addr,
    /// Main IPv6 address.
    pub(super) v6: Ipv6Addr,
    workload: Workload,
}

impl Port {
    /// Where the workload runs.
    pub(super) const fn namespace(&self) -> &Namespace {
        self.workload.namespace()
    }

    /// "tenant/port".
    pub(super) fn title(&self) -> String {
        format!("{}/{}", self.tenant, self.short)
    }

    /// Its resource name.
    pub(super) fn name(&self) -> &str {
        self.workload.port()
    }
}

/// Everything that runs. It is removed when the value is dropped, unless it is kept.
#[derive(Debug)]
pub(super) struct Demo {
    agents: Vec<Agent>,
    control: Control,
    underlay: Underlay,
    ports: Vec<Port>,
    kept: bool,
}

impl Drop for Demo {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = self.take_down()
        {
            eprintln!("demo: {error:#}");
        }
    }
}

impl Demo {
    /// Starts the controller and the hosts, applies the example and attaches every workload.
    pub(super) fn start() -> Result<Self> {
        Self::start_here().inspect_err(|_| {
            // What was started so far has no value that would remove it.
            if let Err(error) = place::remove_all() {
                eprintln!("demo: {error:#}");
            }
        })
    }

    fn start_here() -> Result<Self> {
        fs::create_dir_all(place::FOLDER)?;
        fs::set_permissions(place::FOLDER, fs::Permissions::from_mode(0o700))?;
        let mut underlay = Underlay::within(place::make_namespace("underlay")?, MTU_DEFAULT)?;
        say("starting the controller");
        let namespace = place::make_namespace("controller")?;
        underlay.join_as(&namespace, CONTROLLER_NUMBER)?;
        let control = Control::start(namespace, Path::new(place::FOLDER), Lifetime::Own, "info")?;
        place::remember(control.id())?;
        let mut demo = Self { agents: Vec::new(), control, underlay, ports: Vec::new(), kept: false };
        say("applying examples/two-tenants.yaml");
        let example = workspace::root().join("examples/two-tenants.yaml");
        demo.control.apply(&fs::read_to_string(&example).with_context(|| format!("reading {}", example.display()))?)?;
        for number in 1..=HOSTS {
            interrupt::check()?;
            demo.add_host(number)?;
        }
        demo.attach_workloads()?;
        demo.control.wait_in_force(HOSTS.into(), IN_FORCE)?;
        Ok(demo)
    }

    fn add_host(&mut self, number: u8) -> Result<()> {
        let name = format!("h{number}");
        say(&format!("starting host {name}"));
        let folder = place::path(&name);
        fs::create_dir_all(folder.join("bpf"))?;
        Pins::mount_openly(&folder.join("bpf"))?;
        let namespace = place::make_namespace(&name)?;
        self.underlay.join_as(&namespace, number)?;
        self.control.issue("host", &name, &[])?;
        let place = AgentPlace {
            instance: format!("demo-{name}"),
            namespace,
            pins: None,
            address: Underlay::address(number),
            folder,
            attachment: "auto".to_owned(),
            lifetime: Lifetime::Own,
            name,
        };
        let agent = Agent::start(place, &self.control)?;
        place::remember(agent.id())?;
        self.agents.push(agent);
        Ok(())
    }

    /// Makes a workload for every port that the controller knows.
    fn attach_workloads(&mut self) -> Result<()> {
        // Before a port can be attached, its host must have heard of it.
        self.control.wait_in_force(HOSTS.into(), IN_FORCE)?;
        let listed = self.control.json(&["get", "ports"])?;
        for port in items(&listed) {
            interrupt::check()?;
            let port = self.attach(port).with_context(|| format!("attaching a workload to {port}"))?;
            say(&format!("attached {} on {}: {} and {}", port.title(), port.host, port.v4, port.v6));
            self.ports.push(port);
        }
        Ok(())
    }

    fn attach(&self, port: &Value) -> Result<Port> {
        let text = |key: &str| port.get(key).and_then(Value::as_str).with_context(|| format!("it has no {key}"));
        let name = text("name")?;
        let host = text("host")?.trim_start_matches("hosts/").to_owned();
        let mut parts = name.split('/').skip(1).step_by(2);
        let (Some(tenant), Some(_), Some(short)) = (parts.next(), parts.next(), parts.next()) else {
            anyhow::bail!("{name:?} is not the name of a port");
        };
        let addresses: Vec<&str> =
            port.get("addresses").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let v4 = addresses.iter().find_map(|address| address.parse().ok()).context("it has no IPv4 address")?;
        let v6 = addresses.iter().find_map(|address| address.parse().ok()).context("it has no IPv6 address")?;
        let workload = Workload::within(place::make_namespace(&format!("{tenant}-{short}"))?, name);
        let agent = self.agents.iter().find(|agent| agent.place().name == host);
        agent.with_context(|| format!("the demo has no host {host}"))?.attach(&workload, &self.control)?;
        Ok(Port { tenant: tenant.to_owned(), short: short.to_owned(), host, v4, v6, workload })
    }

    /// All ports, those of one tenant beside each other.
    pub(super) fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// `andromedectl`.
    pub(super) const fn control(&self) -> &Control {
        &self.control
    }

    /// The segment between the hosts.
    pub(super) const fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// The two ports between which throughput is measured.
    pub(super) fn stream_ends(&self) -> Result<(&Port, &Port)> {
        let find = |title: &str| self.ports.iter().find(|port| port.title() == title);
        let (from, to) = expect::STREAM;
        find(from).zip(find(to)).with_context(|| format!("the example has no ports {from} and {to}"))
    }

    /// Leaves everything running and says how to use it.
    pub(super) fn keep(mut self) -> Result<String> {
        let script = self.write_command()?;
        self.kept = true;
        self.control.leave();
        self.agents.iter_mut().for_each(Agent::leave);
        let script = script.display();
        let (from, to) = (expect::REFUSED.0, expect::REFUSED.1);
        let find = |title: &str| self.ports.iter().find(|port| port.title() == title);
        let (from, to) = find(from).zip(find(to)).context("the example lacks a port that the demo names")?;
        Ok(format!(
            "It goes on running. Try:\n  {script} status\n  {script} drops --port {to}\n  {script} trace --port {from} --to {} \
             --proto tcp --port-number {}\n\nA shell in a workload: ip netns exec {} bash\nThe end of it: ./x demo --clean\n",
            find(&to.title()).map_or(to.v4, |port| port.v4),
            expect::REFUSED.2,
            place::namespace_name(&format!("{}-{}", from.tenant, from.short)),
            from = from.name(),
            to = to.name(),
        ))
    }

    /// Writes a script that runs `andromedectl` where the controller can be reached, with the administrator's rights.
    fn write_command(&self) -> Result<std::path::PathBuf> {
        let path = place::path("andromedectl");
        let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
        let text = format!(
            "#!/bin/sh\nexport ANDROMEDE_CONTROLLER={} ANDROMEDE_TLS_CA={} ANDROMEDE_TLS_CERT={} ANDROMEDE_TLS_KEY={}\n\
             exec ip netns exec {} {} \"$@\"\n",
            Control::url(),
            quoted(&self.control.authority()),
            quoted(&self.control.certificate("user", "admin")),
            quoted(&self.control.key("user", "admin")),
            place::namespace_name("controller"),
            quoted(&binary("andromedectl")?),
        );
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(path)
    }

    /// Removes everything; an error if something is left.
    pub(super) fn remove(mut self) -> Result<()> {
        self.kept = true;
        self.take_down()
    }

    fn take_down(&mut self) -> Result<()> {
        let mut errors = Vec::new();
        for agent in &mut self.agents {
            errors.extend(agent.cleanup().err());
        }
        errors.extend(self.control.stop(nix::sys::signal::Signal::SIGTERM).err());
        errors.extend(place::remove_all().err());
        let texts: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
        anyhow::ensure!(texts.is_empty(), "cleaning up: {}", texts.join("; "));
        Ok(())
    }
}

/// The resources that `andromedectl get -o json` prints: a list, or an object with one list in it.
fn items(value: &Value) -> Vec<&Value> {
    let list = value.as_array().or_else(|| value.as_object()?.values().find_map(Value::as_array));
    list.into_iter().flatten().collect()
}
