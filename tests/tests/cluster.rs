//! A Kubernetes cluster: its `NetworkPolicies` hold between real pods, from the first packet, through the operator, the controller and the
//! agents. The API server is one of this project's own ([`andromede_tests::kube`]).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use andromede_testkit::{
    Fabric, Process,
    fabric::{Control, binary},
    traffic::{Responder, tcp_probe},
    wait,
};
use andromede_tests::{
    bundle::network_name,
    cni::{Container, Outcome, Runtime, TENANT, pod_fabric},
    kube::KubeApi,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_mins(1);

/// A fabric of two hosts that are the nodes of a cluster.
struct Cluster {
    // Ended in this order.
    operator: Option<Process>,
    api: KubeApi,
    fabric: Fabric,
}

/// A pod with its interface.
struct Pod {
    container: Container,
    address: IpAddr,
    _server: Responder,
}

fn uid(namespace: &str, name: &str) -> String {
    format!("uid-{namespace}-{name}")
}

impl Cluster {
    fn start() -> Self {
        let fabric = pod_fabric(2).unwrap();
        let control = fabric.control();
        control.user("cluster", &["--role", "tenant-admin", "--tenant", TENANT]).unwrap();
        let api = KubeApi::start(control.namespace()).unwrap();
        for (node, labels) in [("h1", json!({})), ("worker.2", json!({"andromede/host": "h2"}))] {
            api.put("nodes", "", node, &json!({"metadata": {"labels": labels}}));
        }
        for namespace in ["x", "y"] {
            api.put("namespaces", "", namespace, &json!({"metadata": {"labels": {"ns": namespace}}}));
        }
        let mut cluster = Self { operator: None, api, fabric };
        cluster.start_operator();
        let ready = || cluster.fabric.control().ctl(&["get", "sg"]).unwrap().contains("kube-pending").then_some(());
        wait::until("the operator has written its groups", LONG, ready).unwrap();
        cluster.fabric.wait_in_force().unwrap();
        cluster
    }

    fn start_operator(&mut self) {
        let control = self.fabric.control();
        let folder = control.authority().parent().unwrap().to_owned();
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, self.api.kubeconfig()).unwrap();
        let mut command = control.namespace().command(binary("andromede-operator").unwrap());
        command.args(["--network", &network_name(TENANT), "--controller", &Control::url()]);
        command.args(["--lease-namespace", "kube-system", "--identity", "one"]);
        command.arg("--kubeconfig").arg(kubeconfig).arg("--tls-ca").arg(control.authority());
        command.arg("--tls-cert").arg(control.certificate("user", "cluster"));
        command.arg("--tls-key").arg(control.key("user", "cluster"));
        self.operator = Some(Process::start(command, &folder.join("operator.log")).unwrap());
    }

    fn stop_operator(&mut self) {
        self.operator.take().unwrap().end(Signal::SIGTERM).unwrap();
    }

    fn policy(&self, namespace: &str, name: &str, spec: &Value) {
        let metadata = json!({"uid": uid(namespace, name)});
        self.api.put("networkpolicies", namespace, name, &json!({"metadata": metadata, "spec": spec}));
    }

    /// The scheduler's part: the pod is on a node.
    fn schedule(&self, namespace: &str, name: &str, host: u8, status: &Value) {
        let node = if host == 1 { "h1" } else { "worker.2" };
        let ports = json!([{"name": "web", "containerPort": 80, "protocol": "TCP"}]);
        let spec = json!({"nodeName": node, "containers": [{"name": "c", "ports": ports}]});
        let metadata = json!({"uid": uid(namespace, name), "labels": {"pod": name}});
        self.api.put("pods", namespace, name, &json!({"metadata": metadata, "spec": spec, "status": status}));
    }

    fn runtime(&self, namespace: &str, name: &str, host: u8) -> Runtime {
        let mut runtime = Runtime::new(&self.fabric, host)
            .unwrap()
            .with("securityGroups", json!(["kube-pending"]))
            .with("networkPolicy", json!(true));
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={}",
            uid(namespace, name)
        );
        runtime.environment.push(("CNI_ARGS".to_owned(), arguments));
        runtime
    }

    /// The kubelet's part: the pod runs, and serves TCP ports 80 and 81.
    fn run(&self, namespace: &str, name: &str, host: u8) -> Pod {
        self.schedule(namespace, name, host, &json!({"phase": "Pending"}));
        let container = Container::new(&format!("{namespace}-{name}")).unwrap();
        let server = Responder::start(&container.namespace, name, &[80, 81], &[]).unwrap();
        let added: Outcome = self.runtime(namespace, name, host).add(&container).unwrap();
        Pod { container, address: added.addresses()[0], _server: server }
    }
}

fn reaches(from: &Pod, to: &Pod, port: u16) -> bool {
    tcp_probe(&from.container.namespace, SocketAddr::new(to.address, port), SHORT).unwrap().is_answered()
}

/// Compares every cell at once: "from>to", and what passes to ports 80 and 81.
fn holds(pods: &[(&str, Pod)], expected: &[(&str, [bool; 2])]) -> Result<(), String> {
    let pod = |name: &str| &pods.iter().find(|(found, _)| *found == name).unwrap().1;
    let wrong = thread::scope(|scope| {
        let cells: Vec<_> = expected
            .iter()
            .flat_map(|(pair, passes)| [(pair, 80, passes[0]), (pair, 81, passes[1])])
            .map(|(pair, port, passes)| {
                let (from, to) = pair.split_once('>').unwrap();
                let (from, to) = (pod(from), pod(to));
                scope.spawn(move || {
                    (reaches(from, to, port) != passes).then(|| format!("{pair}:{port} should be {passes}"))
                })
            })
            .collect();
        cells.into_iter().filter_map(|cell| cell.join().unwrap()).collect::<Vec<_>>()
    });
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
}

fn eventually(what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let mut last = String::new();
    let waited = wait::until(what, LONG, || holds().map_err(|error| last = error).ok());
    waited.unwrap_or_else(|error| panic!("{error:#}: {last}"));
}

const ALL: [bool; 2] = [true, true];
const WEB: [bool; 2] = [true, false];
const NONE: [bool; 2] = [false, false];

#[test]
fn policies_hold_between_pods_of_two_nodes_from_their_first_packet() {
    let mut cluster = Cluster::start();
    // x/a takes its named port from x/b, and everything from pods a of y. y/b sends to x only.
    let from = json!([
        {"from": [{"podSelector": {"matchLabels": {"pod": "b"}}}], "ports": [{"port": "web"}]},
        {"from": [{"namespaceSelector": {"matchLabels": {"ns": "y"}}, "podSelector": {"matchLabels": {"pod": "a"}}}]},
    ]);
    cluster.policy("x", "on-a", &json!({"podSelector": {"matchLabels": {"pod": "a"}}, "ingress": from}));
    let to = json!([{"to": [{"namespaceSelector": {"matchExpressions": [{"key": "ns", "operator": "In", "values": ["x"]}]}}]}]);
    cluster.policy(
        "y",
        "on-b",
        &json!({"podSelector": {"matchLabels": {"pod": "b"}}, "policyTypes": ["Egress"], "egress": to}),
    );
    let pods: Vec<(&str, Pod)> = [("x/a", 1), ("x/b", 2), ("y/a", 2), ("y/b", 1)]
        .map(|(name, host)| {
            let (namespace, pod) = name.split_once('/').unwrap();
            (name, cluster.run(namespace, pod, host))
        })
        .into();
    cluster.fabric.wait_in_force().unwrap();
    let cells = [
        ("x/a>x/b", ALL),
        ("x/a>y/a", ALL),
        ("x/a>y/b", ALL),
        ("x/b>x/a", WEB),
        ("x/b>y/a", ALL),
        ("x/b>y/b", ALL),
        ("y/a>x/a", ALL),
        ("y/a>x/b", ALL),
        ("y/a>y/b", ALL),
        ("y/b>x/a", NONE),
        ("y/b>x/b", ALL),
        ("y/b>y/a", NONE),
    ];
    holds(&pods, &cells).unwrap();

    // A policy that cannot be expressed closes, and says so.
    cluster.policy(
        "x",
        "odd",
        &json!({"podSelector": {"matchLabels": {"pod": "b"}}, "ingress": [{"ports": [{"protocol": "ICMP"}]}]}),
    );
    eventually("an odd policy closes", || holds(&pods, &[("x/a>x/b", NONE), ("y/a>x/b", NONE), ("x/b>y/a", ALL)]));
    let told = |reason: &str| cluster.api.events().iter().any(|event| event["reason"] == reason);
    eventually("the event", || told("NotExpressed").then_some(()).ok_or_else(|| format!("{:?}", cluster.api.events())));
    cluster.api.delete("networkpolicies", "x", "odd");
    eventually("it opens again", || holds(&pods, &cells));

    // The API server is away: what is in force stays. Afterwards it is heard again.
    cluster.api.set_away(true);
    holds(&pods, &cells).unwrap();
    cluster.api.put("networkpolicies", "y", "deny", &json!({"metadata": {}, "spec": {"podSelector": {}}}));
    thread::sleep(Duration::from_millis(200));
    holds(&pods, &cells).unwrap();
    cluster.api.set_away(false);
    eventually("the API server is heard again", || {
        holds(&pods, &[("x/a>y/a", NONE), ("y/a>x/a", ALL), ("y/b>y/a", NONE)])
    });
    first_packet(&cluster, &pods[0].1);
    late(&mut cluster, &pods[0].1);
}

/// A pod that policies isolate receives not one packet, from before its interface is there.
fn first_packet(cluster: &Cluster, sender: &Pod) {
    let next = match sender.address {
        // The last address that host 1 gave was that of y/b; the next one follows.
        IpAddr::V4(_) => "10.1.1.4".parse::<IpAddr>().unwrap(),
        IpAddr::V6(_) => unreachable!(),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let flood = sender.container.namespace.spawn(move || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        while !stopped.load(Ordering::Relaxed) {
            // Before the pod is there, and while it is closed, sending fails or not.
            let _ = socket.send_to(b"hello", (next, 9_000));
            thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    });
    cluster.schedule("y", "c", 1, &json!({"phase": "Pending"}));
    let container = Container::new("y-c").unwrap();
    // It listens before there is an interface.
    let ear = container.namespace.run(|| UdpSocket::bind("0.0.0.0:9000")).unwrap().unwrap();
    ear.set_nonblocking(true).unwrap();
    let added = cluster.runtime("y", "c", 1).add(&container).unwrap();
    assert_eq!(added.addresses()[0], next);
    thread::sleep(Duration::from_millis(300));
    let mut heard = [0; 16];
    assert!(ear.recv(&mut heard).is_err(), "a packet passed that the policies forbid");
    // The same flood is heard as soon as the policy that forbids it is gone.
    cluster.api.delete("networkpolicies", "y", "deny");
    eventually("the flood is heard", || ear.recv(&mut heard).map(drop).map_err(|error| error.to_string()));
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap().unwrap();
}

/// Without an operator a pod starts after the wait, isolated; the next operator gives it its rules and says that it was late.
fn late(cluster: &mut Cluster, peer: &Pod) {
    cluster.stop_operator();
    cluster.schedule("y", "d", 2, &json!({"phase": "Running", "podIP": "10.1.2.9"}));
    let container = Container::new("y-d").unwrap();
    let server = Responder::start(&container.namespace, "d", &[80, 81], &[]).unwrap();
    let begun = Instant::now();
    let added = cluster.runtime("y", "d", 2).with("policyWaitSeconds", json!(1)).add(&container).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "it waited for the operator");
    let pod = Pod { container, address: added.addresses()[0], _server: server };
    assert!(!reaches(peer, &pod, 80) && !reaches(&pod, peer, 80), "it is isolated");
    cluster.start_operator();
    eventually("the next operator gives it its rules", || {
        if reaches(peer, &pod, 80) { Ok(()) } else { Err("it is isolated".to_owned()) }
    });
    let events = || cluster.api.events();
    let told =
        || events().iter().any(|event| event["reason"] == "StartedIsolated" && event["involvedObject"]["name"] == "d");
    eventually("the event", || told().then_some(()).ok_or_else(|| format!("{:?}", events())));
}
