//! This project: its controller, and an agent on each host, as they are shipped.

use std::{fs, net::Ipv4Addr, path::Path, time::Duration};

use andromede_testkit::{
    Namespace, Underlay, Workload,
    fabric::{Agent, AgentPlace, Control, binary, hosts_bundle},
    namespace::veth,
    pins::Pins,
    process::Lifetime,
};
use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::{PODS, Programs, RULES, Scene, hosts::Hosts, unused};
use crate::traffic::Pod;

/// Name of the agent's program.
const AGENT: &str = "andromede-agent";

/// How long the hosts may take to apply the bundle.
const IN_FORCE: Duration = Duration::from_mins(1);

/// The network of the pods.
const NETWORK: &str = "tenants/bench/networks/bench";

/// The ports, and the host of each.
const PORTS: [(&str, u8); 3] = [("left", 1), ("neighbor", 1), ("right", 2)];

/// What runs. The agents end first.
#[derive(Debug)]
pub(super) struct Fabric {
    agents: Vec<Agent>,
    control: Control,
    folder: TempDir,
}

/// Builds it, with the agents of another build if its folder is given.
pub(super) fn build(mtu: u32, against: Option<&Path>) -> Result<Scene> {
    let hosts = Hosts::new(mtu)?;
    let folder = tempfile::Builder::new().prefix("andromede-bench-").tempdir()?;
    let place = Namespace::new()?;
    place.ip(&format!("addr add {}/32 dev lo", Control::address()))?;
    let control = Control::start(place, folder.path(), Lifetime::Parent, "info")?;
    control.apply(&bundle())?;
    let mut fabric = Fabric { agents: Vec::new(), control, folder };
    for (namespace, number) in hosts.of.iter().zip([1, 2]) {
        fabric.add_host(namespace, number, against)?;
    }
    fabric.control.wait_in_force(hosts.of.len(), IN_FORCE)?;
    let mut pods = PORTS.iter().map(|(port, host)| fabric.attach(port, *host)).collect::<Result<Vec<Pod>>>()?;
    let (Some(right), Some(neighbor), Some(left)) = (pods.pop(), pods.pop(), pods.pop()) else {
        bail!("three pods were to be made")
    };
    fabric.control.wait_in_force(hosts.of.len(), IN_FORCE)?;
    Ok(Scene {
        left,
        neighbor: Some(neighbor),
        right,
        uplinks: hosts.uplinks(),
        filtered: Vec::new(),
        _programs: Programs::Andromede { _fabric: fabric },
    })
}

impl Fabric {
    /// Starts the agent of a host, which reaches the controller over a cable of its own.
    fn add_host(&mut self, namespace: &Namespace, number: u8, against: Option<&Path>) -> Result<()> {
        let (name, controller) = (format!("h{number}"), self.control.namespace());
        let address = Ipv4Addr::new(198, 51, 100, number);
        veth(namespace, "mgmt0", controller, &name, 1500)?;
        namespace.ip(&format!("addr add {address}/32 dev mgmt0"))?;
        namespace.ip(&format!("route add {}/32 dev mgmt0", Control::address()))?;
        controller.ip(&format!("route add {address}/32 dev {name}"))?;
        let folder = self.folder.path().join(&name);
        fs::create_dir_all(folder.join("bpf"))?;
        self.control.issue("host", &name, &[])?;
        let place = AgentPlace {
            instance: name.clone(),
            namespace: namespace.clone(),
            pins: Some(Pins::new(&folder.join("bpf"))?),
            address: Underlay::address(number),
            folder,
            attachment: "auto".to_owned(),
            lifetime: Lifetime::Parent,
            name,
        };
        let program = against.map_or_else(|| binary(AGENT), |folder| Ok(folder.join(AGENT)))?;
        self.agents.push(Agent::start_as(program, place, &self.control)?);
        Ok(())
    }

    fn attach(&self, port: &str, host: u8) -> Result<Pod> {
        let workload = Workload::new(&format!("{NETWORK}/ports/{port}"))?;
        let agent = self.agents.get(usize::from(host).wrapping_sub(1)).context("there is no such host")?;
        agent.attach(&workload, &self.control)?;
        let std::net::IpAddr::V4(address) = workload.address(false)? else { bail!("{port} has no IPv4 address") };
        Ok(Pod { namespace: workload.namespace().clone(), address })
    }
}

/// Hosts, a network, three ports, and groups with as many rules in each direction as the peers have in one chain.
fn bundle() -> String {
    let mut parts = vec![
        hosts_bundle(2),
        "---\nkind: Tenant\nname: tenants/bench\n".to_owned(),
        format!("---\nkind: Network\nname: {NETWORK}\n"),
        format!("---\nkind: Subnet\nname: {NETWORK}/subnets/v4\ncidr: {PODS}\n"),
    ];
    for direction in ["ingress", "egress"] {
        let rule = |name: &str, priority: u32, matches: &str| {
            format!("  - {{name: {name}, direction: {direction}, action: allow, priority: {priority}, {matches}}}\n")
        };
        parts.push(format!("---\nkind: SecurityGroup\nname: {NETWORK}/securityGroups/{direction}\nrules:\n"));
        parts.extend((1..RULES).map(|number| {
            let (address, port) = unused(number);
            let matches = format!("protocol: tcp, ports: [{port}], remoteCidr: {address}/32");
            rule(&format!("unused-{number}"), 100, &matches)
        }));
        parts.push(rule("pods", 200, &format!("remoteCidr: {PODS}")));
    }
    parts.extend(PORTS.iter().zip(11..).map(|((port, host), last)| {
        format!(
            "---\nkind: Port\nname: {NETWORK}/ports/{port}\nhost: hosts/h{host}\naddresses: [10.0.0.{last}]\n\
             securityGroups: [{NETWORK}/securityGroups/ingress, {NETWORK}/securityGroups/egress]\n"
        )
    }));
    parts.concat()
}
