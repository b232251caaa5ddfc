//! The CNI plugin driven by real runtimes: containerd and runc through the interface of a kubelet, on two nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{net::SocketAddr, time::Duration};

use andromede_testkit::{Fabric, FabricOptions, traffic::tcp_probe, wait};
use andromede_tests::{
    bundle::{Bundle, network_name},
    cni::{add_pod_network, known_ports},
    containerd::Containerd,
    cri::{Sandbox, Wish},
    image::{BUSYBOX, NAME},
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_mins(1);
/// Both have the same subnets.
const TENANTS: [&str; 2] = ["shop", "mill"];

/// The network of a tenant on a node, as a list for containerd 1.6. The node itself reaches the pods of the first tenant: the addresses of
/// both are the same, and are each one's only once.
fn list(fabric: &Fabric, node: u8, tenant: &str) -> Value {
    let socket = fabric.agent(node).unwrap().place().socket();
    json!({"cniVersion": "1.0.0", "name": tenant, "plugins": [
        {"type": "andromede-cni", "network": network_name(tenant), "securityGroups": ["web"], "socket": socket,
            "nodeAccess": tenant == TENANTS[0], "capabilities": {"io.kubernetes.cri.pod-annotations": true}}
    ]})
}

/// A pod that answers with its own name on ports 80 and 81.
struct Pod {
    sandbox: Sandbox,
    container: String,
    address: std::net::IpAddr,
}

fn pod(containerd: &Containerd, tenant: &str, node: u8) -> Pod {
    let cri = containerd.cri();
    let name = format!("{tenant}-{node}");
    let sandbox = cri.run(&Wish { name: &name, handler: tenant, ports: Vec::new() });
    let sandbox = sandbox.unwrap_or_else(|error| panic!("{name}: {error:#}\n{}", containerd.tail()));
    let address = cri.addresses(&sandbox).unwrap()[0];
    let serve = format!(
        "{BUSYBOX} nc -ll -p 81 -e {BUSYBOX} echo {name} & exec {BUSYBOX} nc -ll -p 80 -e {BUSYBOX} echo {name}"
    );
    let container = cri.start(&sandbox, NAME, "server", &[BUSYBOX, "sh", "-c", &serve]).unwrap();
    Pod { sandbox, container, address }
}

/// Who answers a process of a pod at this address and port; empty if nobody does.
fn asked(containerd: &Containerd, pod: &Pod, to: std::net::IpAddr, port: u16) -> String {
    let command = format!("{BUSYBOX} nc -w 2 {to} {port} < /dev/null");
    containerd.cri().exec(&pod.container, &[BUSYBOX, "sh", "-c", &command]).unwrap().1.trim().to_owned()
}

#[test]
fn containerd_runs_pods_of_two_tenants_with_the_same_addresses_on_two_nodes() {
    let fabric = Fabric::start(FabricOptions::default()).unwrap();
    let bundle = TENANTS
        .iter()
        .zip(4003..)
        .fold(Bundle::hosts(2), |bundle, (tenant, vni)| add_pod_network(bundle, tenant, vni, 2));
    fabric.apply(bundle.text()).unwrap();
    let start =
        |node| Containerd::start(&fabric, node, &TENANTS.map(|tenant| (tenant, list(&fabric, node, tenant)))).unwrap();
    let nodes = [start(1), start(2)];
    let pods = TENANTS.map(|tenant| [pod(&nodes[0], tenant, 1), pod(&nodes[1], tenant, 2)]);
    let [shop, mill] = &pods;
    assert_eq!(shop.each_ref().map(|pod| pod.address), mill.each_ref().map(|pod| pod.address), "the addresses overlap");
    wait::until("the controller knows them", LONG, || (known_ports(&fabric).unwrap() == 4).then_some(())).unwrap();
    fabric.wait_in_force().unwrap();

    for (tenant, [one, two]) in TENANTS.iter().zip(&pods) {
        let answered = || (asked(&nodes[0], one, two.address, 80) == format!("{tenant}-2")).then_some(());
        wait::until("the pod of its own tenant answers", LONG, answered).unwrap();
        assert_eq!(asked(&nodes[1], two, one.address, 80), format!("{tenant}-1"));
        assert_eq!(asked(&nodes[0], one, two.address, 81), "", "no rule admits it");
    }
    // As a kubelet asks whether a pod lives: in the name of the node, whatever the rules say.
    for port in [80, 81] {
        let probe =
            tcp_probe(fabric.agent(1).unwrap().namespace(), SocketAddr::new(shop[0].address, port), LONG).unwrap();
        assert!(probe.answered_by("shop-1\n"), "{probe:?}");
    }

    for [one, two] in &pods {
        nodes[0].cri().remove(&one.sandbox).unwrap();
        nodes[1].cri().remove(&two.sandbox).unwrap();
    }
    wait::until("the controller knows that all are gone", LONG, || (known_ports(&fabric).unwrap() == 0).then_some(()))
        .unwrap();
    for (number, node) in (1..).zip(&nodes) {
        assert_eq!(node.namespaces().unwrap(), [""; 0]);
        let agent = fabric.agent(number).unwrap();
        let links = agent.namespace().exec("ip -o link show type veth").unwrap();
        let links = String::from_utf8(links.stdout).unwrap();
        assert!(!links.contains(": amd"), "{links}");
        let status = agent.status(fabric.control()).unwrap();
        assert_eq!(status["ports"].as_array().map_or(0, Vec::len), 0, "{status}");
    }
}
