//! The CNI plugin among others: containerd and runc drive it through the interface of a kubelet, on two nodes; and plugins of the CNI
//! project stand behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use andromede_testkit::{
    Fabric, FabricOptions, Namespace,
    traffic::{self, Ping, Responder, Sink, ping, send_stream, tcp_probe, udp_probe},
    underlay::UPLINK,
    wait,
};
use andromede_tests::{
    bundle::{Bundle, network_name},
    cni::{
        CLUSTER, Container, Outcome, Runtime, add_cluster_network, add_pod_network, known_ports, other_plugin,
        pod_fabric,
    },
    containerd::Containerd,
    cri::{Sandbox, Wish},
    drops::{dropped, dropped_more},
    image::{BUSYBOX, NAME},
    podman::Podman,
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);
/// Both have the same subnets.
const TENANTS: [&str; 2] = ["shop", "mill"];

/// The network of a tenant on a node, as a list for containerd 1.6. The node knows the pods by addresses of the cluster: those that they
/// have themselves are the same for both tenants.
fn list(fabric: &Fabric, node: u8, tenant: &str) -> Value {
    let socket = fabric.agent(node).unwrap().place().socket();
    json!({"cniVersion": "1.0.0", "name": tenant, "plugins": [
        {"type": "andromede-cni", "network": network_name(tenant), "securityGroups": ["web"], "socket": socket,
            "nodeAccess": true, "infrastructureNetwork": network_name(CLUSTER), "capabilities": {"io.kubernetes.cri.pod-annotations": true}}
    ]})
}

/// A pod that answers with its own name on ports 80 and 81.
struct Pod {
    sandbox: Sandbox,
    container: String,
    /// What it has inside, and by what Kubernetes would know it.
    address: IpAddr,
    known_by: IpAddr,
}

fn pod(containerd: &Containerd, tenant: &str, node: u8) -> Pod {
    let cri = containerd.cri();
    let name = format!("{tenant}-{node}");
    let sandbox = cri.run(&Wish { name: &name, handler: tenant, ports: Vec::new() });
    let sandbox = sandbox.unwrap_or_else(|error| panic!("{name}: {error:#}\n{}", containerd.tail()));
    let known_by = cri.addresses(&sandbox).unwrap()[0];
    let serve = format!(
        "{BUSYBOX} nc -ll -p 81 -e {BUSYBOX} echo {name} & exec {BUSYBOX} nc -ll -p 80 -e {BUSYBOX} echo {name}"
    );
    let container = cri.start(&sandbox, NAME, "server", &[BUSYBOX, "sh", "-c", &serve]).unwrap();
    let look = [BUSYBOX, "ip", "-o", "-4", "addr", "show", "dev", "eth0"];
    let looked = cri.exec(&container, &look).unwrap().1;
    let address = looked.split(" inet ").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
    Pod { sandbox, container, address: address.unwrap_or_else(|| panic!("{looked}")), known_by }
}

/// Who answers a process of a pod at this address and port; empty if nobody does.
fn asked(containerd: &Containerd, pod: &Pod, to: IpAddr, port: u16) -> String {
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
    fabric.apply(add_cluster_network(bundle, 4005, 2).text()).unwrap();
    let start =
        |node| Containerd::start(&fabric, node, &TENANTS.map(|tenant| (tenant, list(&fabric, node, tenant)))).unwrap();
    let nodes = [start(1), start(2)];
    let pods = TENANTS.map(|tenant| [pod(&nodes[0], tenant, 1), pod(&nodes[1], tenant, 2)]);
    let [shop, mill] = &pods;
    assert_eq!(shop.each_ref().map(|pod| pod.address), mill.each_ref().map(|pod| pod.address), "the addresses overlap");
    wait::until("the controller knows them", LONG, || (known_ports(&fabric).unwrap() == 8).then_some(())).unwrap();
    fabric.wait_in_force().unwrap();

    for (tenant, [one, two]) in TENANTS.iter().zip(&pods) {
        let answered = || (asked(&nodes[0], one, two.address, 80) == format!("{tenant}-2")).then_some(());
        wait::until("the pod of its own tenant answers", LONG, answered).unwrap();
        assert_eq!(asked(&nodes[1], two, one.address, 80), format!("{tenant}-1"));
        assert_eq!(asked(&nodes[0], one, two.address, 81), "", "no rule admits it");
    }
    // As a kubelet asks whether a pod lives: in the name of the node, whatever the rules say.
    for (tenant, [pod, _]) in TENANTS.iter().zip(&pods) {
        for port in [80, 81] {
            let probe = tcp_probe(fabric.agent(1).unwrap().namespace(), SocketAddr::new(pod.known_by, port), LONG);
            assert!(probe.as_ref().unwrap().answered_by(&format!("{tenant}-1\n")), "{probe:?}");
        }
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

/// A pod that a runtime without Kubernetes made, with servers of its tenant's name.
struct Plain {
    container: Container,
    add: Outcome,
    _servers: (Responder, Sink),
}

fn plain(runtime: &Runtime, name: &str) -> Plain {
    let container = Container::new(name).unwrap();
    let add = runtime.add(&container).unwrap();
    let servers = Responder::start(&container.namespace, name, &[80], &[53]).unwrap();
    let sink = Sink::start(&container.namespace, 9).unwrap();
    Plain { container, add, _servers: (servers, sink) }
}

/// Everything that a node does with a pod, and the pod with its node.
fn talk(node: &Namespace, own: IpAddr, name: &str, pod: &Plain, known_by: IpAddr) {
    let at = |port| SocketAddr::new(known_by, port);
    let answered = || tcp_probe(node, at(80), SECOND).unwrap().answered_by(name).then_some(());
    wait::until("the node's probe is answered", LONG, answered).unwrap();
    assert!(udp_probe(node, at(53), SECOND * 5).unwrap().answered_by(name), "{known_by}");
    assert!(ping(node, known_by, Ping::default()).unwrap().outcome().is_answered(), "{known_by}");
    let refused = [tcp_probe(node, at(4), SECOND * 5).unwrap(), udp_probe(node, at(4), SECOND * 5).unwrap()];
    let are_refused = refused.iter().all(|outcome| matches!(outcome, traffic::Outcome::Refused(_)));
    assert!(are_refused, "nobody listens there, and an error of the pod says so: {refused:?}");
    // Segments that the kernel cuts and sums up later.
    assert_eq!(send_stream(node, at(9), 4 << 20).unwrap().bytes, 4 << 20);
    let sink = Sink::start(node, 9).unwrap();
    send_stream(&pod.container.namespace, SocketAddr::new(own, 9), 4 << 20).unwrap();
    assert_eq!(sink.report().unwrap().bytes, 4 << 20);
}

#[test]
fn a_node_reaches_pods_of_tenants_that_have_the_same_address() {
    let fabric = Fabric::start(FabricOptions { hosts: 1, ..FabricOptions::default() }).unwrap();
    let networks = Bundle::hosts(1);
    let networks = TENANTS.iter().zip(4003..).fold(networks, |all, (tenant, vni)| add_pod_network(all, tenant, vni, 1));
    fabric.apply(add_cluster_network(networks, 4005, 1).text()).unwrap();
    let node = fabric.agent(1).unwrap().namespace();
    node.ip(&format!("addr add 2001:db8::1/64 dev {UPLINK} nodad")).unwrap();
    let runtime = Runtime::new(&fabric, 1).unwrap().with("securityGroups", json!(["web"]));
    let runtimes = TENANTS.map(|tenant| runtime.known_by_cluster(tenant));
    let [shop, mill] = [0, 1].map(|number| plain(&runtimes[number], TENANTS[number]));
    let of_cluster = runtime.with("network", network_name(CLUSTER).into()).with("securityGroups", json!(["open"]));
    let neighbour = plain(&of_cluster, "neighbour");
    for pod in [&shop, &mill] {
        let has = String::from_utf8(pod.container.namespace.exec("ip -o addr show dev eth0").unwrap().stdout).unwrap();
        assert!(has.contains("inet 10.1.1.2/24") && has.contains("inet6 fd00:11::2/64"), "{has}");
    }
    let known_by = [&shop, &mill].map(|pod| pod.add.addresses());
    let parse = |texts: [&str; 2]| texts.map(|text| text.parse::<IpAddr>().unwrap()).to_vec();
    assert_eq!(known_by, [parse(["10.244.1.2", "fd00:f1::2"]), parse(["10.244.1.3", "fd00:f1::3"])]);
    wait::until("the controller knows them", LONG, || (known_ports(&fabric).unwrap() == 5).then_some(())).unwrap();

    let own = parse(["192.0.2.1", "2001:db8::1"]);
    for (number, pod) in [&shop, &mill].into_iter().enumerate() {
        for (known_by, own) in known_by[number].iter().zip(&own) {
            talk(node, *own, TENANTS[number], pod, *known_by);
        }
        let checked = runtimes[number].with("prevResult", pod.add.output.clone()).run("CHECK", &pod.container).unwrap();
        assert!(checked.succeeded, "{}", checked.output);
    }
    // Neither its neighbour of another tenant, nor a pod of the network that the address is of.
    let before =
        ["infrastructure-address", "unknown-destination"].map(|reason| (reason, dropped(&fabric, reason).unwrap()));
    for (from, (reason, before)) in [&neighbour, &mill].into_iter().zip(before) {
        for address in &known_by[0] {
            let outcome = tcp_probe(&from.container.namespace, SocketAddr::new(*address, 80), SECOND / 2).unwrap();
            assert!(!outcome.is_answered(), "{address}: {outcome:?}");
        }
        dropped_more(&fabric, reason, before, 2).unwrap();
    }

    for (runtime, pod) in runtimes.iter().zip([&shop, &mill]) {
        assert!(runtime.run("DEL", &pod.container).unwrap().succeeded);
    }
    wait::until("the controller knows that they are gone", LONG, || (known_ports(&fabric).unwrap() == 1).then_some(()))
        .unwrap();
    let left = String::from_utf8(node.exec("ip route show 10.244.1.0/24").unwrap().stdout).unwrap();
    assert_eq!(left.trim(), "", "no route is left");
}

#[test]
fn portmap_and_tuning_work_behind_the_plugin() {
    let fabric = pod_fabric(2).unwrap();
    let runtime = Runtime::new(&fabric, 1).unwrap().with("cniVersion", json!("1.0.0"));
    let runtime = runtime.with("nodeAccess", json!(true)).with("securityGroups", json!(["web"]));
    let pod = Container::new("c1").unwrap();
    let [node, other] = [1, 2].map(|number| fabric.agent(number).unwrap().namespace());
    let set_switch = || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1");
    node.run(set_switch).unwrap().unwrap();
    let add = runtime.add(&pod).unwrap();
    let _server = Responder::start(&pod.namespace, "pod", &[80, 81], &[]).unwrap();

    let behind = |kind: &str, more: &Value| {
        let mut configuration = json!({"cniVersion": "1.0.0", "name": "pods", "type": kind, "prevResult": add.output});
        configuration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        configuration
    };
    let tuning = behind("tuning", &json!({"sysctl": {"net.core.somaxconn": "321"}}));
    let ports = json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 8081, "containerPort": 81, "protocol": "tcp"},
    ]);
    let portmap = behind("portmap", &json!({"runtimeConfig": {"portMappings": ports}}));
    for plugin in [&tuning, &portmap] {
        let outcome = other_plugin(node, "ADD", &pod, plugin).unwrap();
        assert!(outcome.succeeded, "{}", outcome.output);
        for part in ["interfaces", "ips", "routes"] {
            assert_eq!(outcome.output[part], add.output[part], "what ours said is passed on by {plugin}");
        }
    }
    let read = || std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    assert_eq!(pod.namespace.run(read).unwrap().unwrap().trim(), "321");
    let ask = |from, port| tcp_probe(from, SocketAddr::from(([192, 0, 2, 1], port)), Duration::from_secs(1)).unwrap();
    assert!(ask(node, 8080).answered_by("pod") && ask(node, 8081).answered_by("pod"), "the node's own are not asked");
    assert!(ask(other, 8080).answered_by("pod"), "by the rules of the host, and a rule of the pod");
    assert!(!ask(other, 8081).is_answered(), "no rule of the pod admits it");
    // Not that of portmap 1.1.1: of a pod with addresses of both families it looks for rules of the wrong one.
    let checked = other_plugin(node, "CHECK", &pod, &tuning).unwrap();
    assert!(checked.succeeded, "{}", checked.output);
    assert!(runtime.with("prevResult", add.output.clone()).run("CHECK", &pod).unwrap().succeeded);
    for plugin in [&portmap, &tuning] {
        let outcome = other_plugin(node, "DEL", &pod, plugin).unwrap();
        assert!(outcome.succeeded, "{}", outcome.output);
    }
    assert!(!ask(node, 8080).is_answered());
    assert!(runtime.run("DEL", &pod).unwrap().succeeded);
}

#[test]
fn podman_runs_containers_by_the_plugin() {
    let fabric = pod_fabric(1).unwrap();
    let agent = fabric.agent(1).unwrap();
    let list = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
        {"type": "andromede-cni", "network": network_name(TENANTS[0]), "securityGroups": ["web"],
            "socket": agent.place().socket(), "nodeAccess": true}
    ]});
    let podman = Podman::new(agent, &list).unwrap();
    let entry = json!([BUSYBOX, "nc", "-ll", "-p", "80", "-e", BUSYBOX, "echo", "box"]).to_string();
    podman.run(&["run", "--detach", "--name", "box", "--network", "pods", "--entrypoint", &entry, NAME]).unwrap();
    let address = podman.run(&["inspect", "--format", "{{.NetworkSettings.Networks.pods.IPAddress}}", "box"]).unwrap();
    let address = SocketAddr::new(address.parse().unwrap(), 80);
    let answered = || tcp_probe(agent.namespace(), address, LONG).unwrap().answered_by("box\n").then_some(());
    wait::until("the container answers its node", LONG, answered).unwrap();
    podman.run(&["rm", "--force", "--time", "0", "box"]).unwrap();
    let links = String::from_utf8(agent.namespace().exec("ip -o link show type veth").unwrap().stdout).unwrap();
    assert!(!links.contains(": amd"), "{links}");
    wait::until("the controller knows that it is gone", LONG, || (known_ports(&fabric).unwrap() == 0).then_some(()))
        .unwrap();
}
