//! A runtime as the CNI plugin sees it.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use andromede_testkit::{Fabric, FabricOptions, Namespace, containerd::PLUGINS, fabric::binary};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::bundle::{ANYTHING_IN, Bundle, network_name};

/// Tenant whose network the pods are in.
pub const TENANT: &str = "shop";

/// A fabric with a network for pods: `h1` has 10.1.1.0/24 and `fd00:11::/64`, `h2` has 10.1.2.0/24 and `fd00:12::/64`. Group `open`
/// admits everything, `web` TCP port 80.
pub fn pod_network(hosts: u8) -> Bundle {
    add_pod_network(Bundle::hosts(hosts), TENANT, 4003, hosts)
}

/// The same network of a tenant, under this name on the wire, added to a bundle.
pub fn add_pod_network(bundle: Bundle, tenant: &str, vni: u32, hosts: u8) -> Bundle {
    let network = network_name(tenant);
    let mut bundle = bundle.tenant(tenant, vni).group(tenant, "open", &[ANYTHING_IN]).group(
        tenant,
        "web",
        &["{name: web, direction: ingress, action: allow, protocol: tcp, ports: [\"80\"]}"],
    );
    for host in 1..=hosts {
        for (family, cidr) in [("v4", format!("10.1.{host}.0/24")), ("v6", format!("fd00:1{host}::/64"))] {
            bundle = bundle.with(&format!(
                "kind: Subnet\nname: {network}/subnets/h{host}-{family}\ncidr: {cidr}\nhost: hosts/h{host}\n"
            ));
        }
    }
    bundle
}

/// Tenant of the cluster itself.
pub const CLUSTER: &str = "cluster";

/// The cluster's own network, added to a bundle: `h1` has 10.244.1.0/24 and `fd00:f1::/64`, and so on.
pub fn add_cluster_network(bundle: Bundle, vni: u32, hosts: u8) -> Bundle {
    let network = network_name(CLUSTER);
    let mut bundle = bundle.tenant(CLUSTER, vni).group(CLUSTER, "open", &[ANYTHING_IN]);
    for host in 1..=hosts {
        for (family, cidr) in [("v4", format!("10.244.{host}.0/24")), ("v6", format!("fd00:f{host}::/64"))] {
            bundle = bundle.with(&format!(
                "kind: Subnet\nname: {network}/subnets/h{host}-{family}\ncidr: {cidr}\nhost: hosts/h{host}\n"
            ));
        }
    }
    bundle
}

/// A fabric of so many hosts with that network.
pub fn pod_fabric(hosts: u8) -> Result<Fabric> {
    let fabric = Fabric::start(FabricOptions { hosts, ..FabricOptions::default() })?;
    fabric.apply(pod_network(hosts).text())?;
    Ok(fabric)
}

/// How many ports of pods the controller knows.
pub fn known_ports(fabric: &Fabric) -> Result<usize> {
    Ok(fabric.control().json(&["get", "ports"])?.to_string().matches("/ports/pod-").count())
}

/// What the plugin did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Exit code 0?
    pub succeeded: bool,
    /// Standard output; null if it was empty.
    pub output: Value,
}

impl Outcome {
    /// The code of the error; none after a success.
    pub fn code(&self) -> Option<u64> {
        if self.succeeded { None } else { self.output["code"].as_u64() }
    }

    /// Addresses of the result, without the length of their prefix.
    pub fn addresses(&self) -> Vec<std::net::IpAddr> {
        let ips = self.output["ips"].as_array().map(Vec::as_slice).unwrap_or_default();
        let address = |ip: &Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
        ips.iter().filter_map(address).collect()
    }
}

/// A container of a runtime on one host.
#[derive(Clone, Debug)]
pub struct Container {
    /// `CNI_CONTAINERID`.
    pub id: String,
    /// Its network namespace.
    pub namespace: Namespace,
}

impl Container {
    /// A container with a new namespace.
    pub fn new(id: &str) -> Result<Self> {
        Ok(Self { id: id.to_owned(), namespace: Namespace::new()? })
    }

    /// `CNI_NETNS`.
    pub fn netns(&self) -> String {
        self.namespace.path().display().to_string()
    }
}

/// The runtime of host `h{number}`, with its network configuration.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// What stands on standard input.
    pub configuration: Value,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// Variables besides.
    pub environment: Vec<(String, String)>,
}

impl Runtime {
    /// With a configuration of version 1.1.0 and the group `open`.
    pub fn new(fabric: &Fabric, host: u8) -> Result<Self> {
        let socket = fabric.agent(host)?.place().socket();
        let configuration = json!({"cniVersion": "1.1.0", "name": "pods", "type": "andromede-cni", "socket": socket,
            "network": network_name(TENANT), "securityGroups": ["open"]});
        Ok(Self { configuration, interface: "eth0".to_owned(), environment: Vec::new() })
    }

    /// The same for the network of a tenant, whose pods their node knows by addresses of the cluster.
    #[must_use]
    pub fn known_by_cluster(&self, tenant: &str) -> Self {
        let of_tenant = self.with("name", tenant.into()).with("network", network_name(tenant).into());
        of_tenant.with("nodeAccess", true.into()).with("infrastructureNetwork", network_name(CLUSTER).into())
    }

    /// The same with one field of the configuration set.
    #[must_use]
    pub fn with(&self, field: &str, value: Value) -> Self {
        let mut other = self.clone();
        if let Value::Object(fields) = &mut other.configuration {
            fields.insert(field.to_owned(), value);
        }
        other
    }

    /// The same with another interface name.
    #[must_use]
    pub fn named(&self, interface: &str) -> Self {
        Self { interface: interface.to_owned(), ..self.clone() }
    }

    /// Gives a container its network; whatever else the plugin says is an error.
    pub fn add(&self, container: &Container) -> Result<Outcome> {
        let outcome = self.run("ADD", container)?;
        ensure!(outcome.succeeded, "ADD for {}: {}", container.id, outcome.output);
        Ok(outcome)
    }

    /// Runs the plugin for a container.
    pub fn run(&self, command: &str, container: &Container) -> Result<Outcome> {
        self.call(command, &container.id, &container.netns())
    }

    /// Runs the plugin; an empty namespace is left out.
    pub fn call(&self, command: &str, container: &str, netns: &str) -> Result<Outcome> {
        let mut plugin = Command::new(binary("andromede-cni")?);
        plugin.env_clear().env("CNI_COMMAND", command).env("CNI_PATH", "/opt/cni/bin");
        plugin.env("CNI_CONTAINERID", container).env("CNI_IFNAME", &self.interface);
        if !netns.is_empty() {
            plugin.env("CNI_NETNS", netns);
        }
        plugin.envs(self.environment.iter().map(|(name, value)| (name, value)));
        drive(plugin, &self.configuration)
    }
}

/// Runs a plugin with its configuration on standard input.
fn drive(mut plugin: Command, configuration: &Value) -> Result<Outcome> {
    let mut child = plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting the plugin")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(configuration.to_string().as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    let json = if text.trim().is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text) };
    let json = json.with_context(|| format!("the plugin wrote {text:?}"))?;
    Ok(Outcome { succeeded: output.status.success(), output: json })
}

/// Runs a plugin of the CNI project on a host, for the interface `eth0` of a container.
pub fn other_plugin(host: &Namespace, command: &str, container: &Container, configuration: &Value) -> Result<Outcome> {
    let name = configuration["type"].as_str().context("the configuration names no plugin")?;
    let program = Path::new(PLUGINS).join(name);
    ensure!(program.is_file(), "{} is missing: apt-get install containernetworking-plugins", program.display());
    let mut plugin = host.command(program);
    plugin.env("CNI_COMMAND", command).env("CNI_PATH", PLUGINS).env("CNI_CONTAINERID", &container.id);
    plugin.env("CNI_IFNAME", "eth0").env("CNI_NETNS", container.netns());
    drive(plugin, configuration)
}
