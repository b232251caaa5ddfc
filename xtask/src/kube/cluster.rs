//! The cluster: a fabric of two hosts that are its nodes, the control plane, and operators.

use std::{collections::BTreeMap, fs, time::Duration};

use andromede_testkit::{Fabric, FabricOptions, fabric::hosts_bundle, wait};
use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{
    cache::Cache,
    control_plane::ControlPlane,
    kubectl::Kubectl,
    node::Node,
    operator::{self, Operator},
    say,
};

/// How many nodes there are.
const NODES: u8 = 2;
/// Tenant of the cluster.
pub(super) const TENANT: &str = "shop";
/// Network of its pods.
pub(super) const NETWORK: &str = "tenants/shop/networks/pods";
/// Where pods have their addresses: of it, each node has a part.
pub(super) const PODS: &str = "10.1.0.0/16";
/// How long what takes long may take.
pub(super) const LONG: Duration = Duration::from_mins(2);

/// A cluster that runs. It ends with this value.
#[derive(Debug)]
pub(super) struct Cluster {
    // Ended in this order.
    operators: BTreeMap<String, Operator>,
    nodes: Vec<Node>,
    plane: ControlPlane,
    fabric: Fabric,
    kubectl: Kubectl,
    image: String,
}

/// What the node's subnet begins with.
pub(super) fn subnet_of(node: &str) -> String {
    format!("10.1.{}.", node.trim_start_matches('h'))
}

/// The tenant, its network, and a subnet for each node.
fn bundle() -> String {
    let subnet = |node: u8| {
        let first = subnet_of(&format!("h{node}"));
        format!("---\nkind: Subnet\nname: {NETWORK}/subnets/h{node}-v4\ncidr: {first}0/24\nhost: hosts/h{node}\n")
    };
    let subnets = (1..=NODES).map(subnet).collect::<Vec<_>>().concat();
    let hosts = hosts_bundle(NODES);
    format!(
        "{hosts}---\nkind: Tenant\nname: tenants/{TENANT}\n---\nkind: Network\nname: {NETWORK}\nvni: 4003\n{subnets}"
    )
}

impl Cluster {
    /// Starts it: operators too, but nothing waits until nodes are ready.
    pub(super) fn start(cache: &Cache) -> Result<Self> {
        say("starting the fabric and the control plane");
        let fabric = Fabric::start(FabricOptions { hosts: NODES, ..FabricOptions::default() })?;
        fabric.apply(&bundle())?;
        let folder = fabric.folder().join("kubernetes");
        fs::create_dir_all(&folder)?;
        let (plane, kubectl) = ControlPlane::start(cache, fabric.control().namespace(), folder)?;
        operator::make_account(&kubectl, fabric.control())?;
        let image = cache.agnhost()?;
        let mut cluster = Self { operators: BTreeMap::new(), nodes: Vec::new(), plane, fabric, kubectl, image };
        cluster.start_operator("one")?;
        for number in 1..=NODES {
            let agent = cluster.fabric.agent(number)?;
            say(&format!("starting the node {}", agent.place().name));
            let list = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
                {"type": "andromede-cni", "network": NETWORK, "socket": agent.place().socket(), "nodeAccess": true,
                    "securityGroups": ["kube-pending"], "networkPolicy": true, "capabilities": {"mac": true, "ips": true}},
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ]});
            let node = Node::start(cache, agent, &list, &cluster.plane.kubeconfig())?;
            cluster.nodes.push(node);
        }
        Ok(cluster)
    }

    /// Starts one more operator.
    pub(super) fn start_operator(&mut self, name: &str) -> Result<()> {
        let control = self.fabric.control();
        let operator = Operator::start(&self.kubectl, &self.plane, control, self.fabric.folder(), name)?;
        self.operators.insert(name.to_owned(), operator);
        Ok(())
    }

    /// Ends an operator by a signal.
    pub(super) fn end_operator(&mut self, name: &str, signal: Signal) -> Result<()> {
        self.operators.remove(name).with_context(|| format!("there is no operator {name}"))?.end(signal)
    }

    /// Starts kube-proxy on every node.
    pub(super) fn start_proxies(&mut self, cache: &Cache) -> Result<()> {
        let kubeconfig = self.plane.kubeconfig();
        self.nodes.iter_mut().try_for_each(|node| node.start_proxy(cache, &kubeconfig, PODS))
    }

    /// `kubectl`.
    pub(super) const fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The fabric, to stop and start agents.
    pub(super) const fn fabric_mut(&mut self) -> &mut Fabric {
        &mut self.fabric
    }

    /// The fabric.
    pub(super) const fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// The nodes.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The administrator's configuration, for the specs.
    pub(super) fn kubeconfig(&self) -> std::path::PathBuf {
        self.plane.kubeconfig()
    }

    /// Image of pods that serve and ask.
    pub(super) fn image(&self) -> &str {
        &self.image
    }

    /// Waits for something of the cluster that may take long; an error if a part of it ends meanwhile.
    pub(super) fn wait<T>(&mut self, what: &str, mut probe: impl FnMut(&Self) -> Result<T, String>) -> Result<T> {
        let mut last = String::new();
        let found = wait::until(what, LONG, || {
            if let Err(error) = self.check() {
                return Some(Err(error));
            }
            probe(self).map(Ok).map_err(|error| last = error).ok()
        });
        found.with_context(|| last)?
    }

    fn check(&mut self) -> Result<()> {
        self.plane.check()?;
        self.operators.values_mut().try_for_each(Operator::check)?;
        self.nodes.iter_mut().try_for_each(Node::check)
    }

    /// Pods of a namespace with these labels.
    pub(super) fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>> {
        let listed = self.kubectl.json(&["get", "pods", "--namespace", namespace, "--selector", selector])?;
        Ok(listed["items"].as_array().into_iter().flatten().map(Pod::read).collect())
    }

    /// What the parts wrote last.
    pub(super) fn logs(&self) -> String {
        let operators = self.operators.iter().map(|(name, it)| format!("operator {name}:\n{}", it.tail()));
        let nodes = self.nodes.iter().map(Node::tail);
        operators.chain(nodes).chain([self.fabric.logs()]).collect::<Vec<_>>().concat()
    }
}

/// A pod as the API server tells of it.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) node: String,
    pub(super) address: String,
    pub(super) is_ready: bool,
    pub(super) is_going: bool,
}

impl Pod {
    fn read(object: &Value) -> Self {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        Self {
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            node: text("/spec/nodeName"),
            address: text("/status/podIP"),
            is_ready: conditions.clone().any(|it| it["type"] == "Ready" && it["status"] == "True"),
            is_going: !text("/metadata/deletionTimestamp").is_empty(),
        }
    }
}
