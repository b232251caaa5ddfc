//! The CNI plugin, driven by environment and standard input as a runtime does, against a real agent and a real controller: each MUST of
//! the specification (1.1.0) a test of its name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use andromede_testkit::{
    Namespace,
    namespace::veth,
    packet::{Ends, Tcp, tcp_flag},
    raw::RawSocket,
    traffic::{Responder, ping, tcp_probe},
    underlay::UPLINK,
    wait,
};
use andromede_tests::{
    cni::{Container, Outcome, Runtime, known_ports, pod_fabric},
    drops::{dropped, dropped_more},
};
use serde_json::{Value, json};

const SHORT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_mins(1);

/// The configuration as CHECK and DEL get it: with the result of ADD.
fn after(runtime: &Runtime, add: &Outcome) -> Runtime {
    runtime.with("prevResult", add.output.clone())
}

fn assert_done(outcome: &Outcome) {
    assert!(outcome.succeeded, "{}", outcome.output);
    assert_eq!(outcome.output, Value::Null, "nothing is written on success");
}

#[test]
fn pods_of_two_hosts_talk_and_their_rules_hold() {
    let fabric = pod_fabric(2).unwrap();
    let (h1, h2) = (Runtime::new(&fabric, 1).unwrap(), Runtime::new(&fabric, 2).unwrap());
    let web = h2.with("securityGroups", json!(["web"]));
    let (client, server) = (Container::new("client").unwrap(), Container::new("server").unwrap());
    let from = h1.add(&client).unwrap().addresses();
    let to = web.add(&server).unwrap().addresses();
    assert_eq!(from, ["10.1.1.2".parse::<IpAddr>().unwrap(), "fd00:11::2".parse().unwrap()]);
    assert_eq!(to, ["10.1.2.2".parse::<IpAddr>().unwrap(), "fd00:12::2".parse().unwrap()]);
    let _server = Responder::start(&server.namespace, "server", &[80, 81], &[]).unwrap();
    // The agents register what they gave out.
    wait::until("the controller knows both ports", LONG, || (known_ports(&fabric).unwrap() == 2).then_some(()))
        .unwrap();
    fabric.wait_in_force().unwrap();
    for address in to {
        let probe = |port| tcp_probe(&client.namespace, SocketAddr::new(address, port), SHORT * 4).unwrap();
        assert!(probe(80).answered_by("server"), "{address}");
        assert!(!probe(81).is_answered(), "no rule admits it: {address}");
    }
    // The other way: the client's group admits everything.
    assert!(
        ping(&server.namespace, from[0], andromede_testkit::traffic::Ping::default()).unwrap().outcome().is_answered()
    );
    assert_done(&h1.run("DEL", &client).unwrap());
    assert_done(&web.run("DEL", &server).unwrap());
    wait::until("the controller knows that both are gone", LONG, || (known_ports(&fabric).unwrap() == 0).then_some(()))
        .unwrap();
}

#[test]
fn add_is_refused_if_the_interface_exists_and_leaves_everything_as_it_was() {
    let fabric = pod_fabric(1).unwrap();
    let runtime = Runtime::new(&fabric, 1).unwrap();
    let container = Container::new("c1").unwrap();
    container.namespace.ip("link add eth0 type veth peer name other").unwrap();
    let refused = runtime.run("ADD", &container).unwrap();
    assert_eq!(refused.code(), Some(103), "{}", refused.output);
    assert!(refused.output["details"].as_str().unwrap().contains("eth0"));
    assert_eq!(refused.output["cniVersion"], json!("1.1.0"));
    container.namespace.ip("link delete eth0").unwrap();

    let add = runtime.add(&container).unwrap();
    // Our type twice in a list is the same thing: the second finds the interface of the first.
    let twice = after(&runtime, &add).run("ADD", &container).unwrap();
    assert_eq!(twice.code(), Some(103), "{}", twice.output);
    assert_done(&after(&runtime, &add).run("CHECK", &container).unwrap());
}

#[test]
fn check_finds_everything_that_is_not_as_it_was_made() {
    let fabric = pod_fabric(1).unwrap();
    let runtime = Runtime::new(&fabric, 1).unwrap();
    let container = Container::new("c1").unwrap();
    let add = runtime.add(&container).unwrap();
    let runtime = after(&runtime, &add);
    let host_side = add.output["interfaces"][0]["name"].as_str().unwrap().to_owned();
    let address = add.output["ips"][0]["address"].as_str().unwrap().to_owned();
    let gateway = add.output["ips"][0]["gateway"].as_str().unwrap().to_owned();
    assert_done(&runtime.run("CHECK", &container).unwrap());
    let host = fabric.agent(1).unwrap().namespace().clone();
    let inside = container.namespace.clone();
    // What is spoiled, and how it is made good again.
    let spoil: [(&str, Vec<String>, Vec<String>); 4] = [
        ("MTU", vec!["link set eth0 mtu 1300".into()], vec!["link set eth0 mtu 1500".into()]),
        ("0.0.0.0/0", vec!["route del default".into()], vec![format!("route add default via {gateway}")]),
        (
            "address",
            vec![format!("addr del {address} dev eth0")],
            vec![format!("addr add {address} dev eth0"), format!("route replace default via {gateway}")],
        ),
        ("down", vec!["link set eth0 down".into()], vec!["link set eth0 up".into()]),
    ];
    for (word, bad, good) in spoil {
        for line in &bad {
            inside.ip(line).unwrap();
        }
        let found = runtime.run("CHECK", &container).unwrap();
        assert_eq!(found.code(), Some(104), "{word}: {}", found.output);
        assert!(found.output["details"].as_str().unwrap().contains(word), "{word}: {}", found.output);
        for line in &good {
            inside.ip(line).unwrap();
        }
        if word == "down" {
            // Its routes went with it, and its IPv6 addresses.
            inside.ip(&format!("route replace default via {gateway}")).unwrap();
            break;
        }
        assert_done(&runtime.run("CHECK", &container).unwrap());
    }
    let stranger = Container::new("c1").unwrap();
    assert_eq!(runtime.run("CHECK", &stranger).unwrap().code(), Some(104), "another namespace");
    let unknown = Container { id: "c2".to_owned(), ..container.clone() };
    assert_eq!(runtime.run("CHECK", &unknown).unwrap().code(), Some(104), "no lease");
    let mut result = add.output.clone();
    result["ips"][0]["address"] = json!("10.1.1.99/24");
    let told = runtime.with("prevResult", result).run("CHECK", &container).unwrap();
    assert!(told.output["details"].as_str().unwrap().contains("10.1.1.99"), "{}", told.output);
    host.ip(&format!("link delete {host_side}")).unwrap();
    assert_eq!(runtime.run("CHECK", &container).unwrap().code(), Some(104), "the interface is gone");
}

#[test]
fn del_may_be_repeated_and_needs_neither_namespace_nor_previous_result() {
    let fabric = pod_fabric(1).unwrap();
    let runtime = Runtime::new(&fabric, 1).unwrap();
    let container = Container::new("c1").unwrap();
    let add = runtime.add(&container).unwrap();
    let host_side = add.output["interfaces"][0]["name"].as_str().unwrap();
    assert_done(&runtime.call("DEL", "c1", "").unwrap());
    assert!(fabric.agent(1).unwrap().namespace().index(host_side).is_err(), "the interface is gone");
    assert!(container.namespace.index("eth0").is_err());
    assert_done(&runtime.call("DEL", "c1", "").unwrap());
    assert_done(&runtime.call("DEL", "never-was", "/nonexistent").unwrap());

    // The namespace went before: the kernel took the interface, DEL frees the lease.
    let gone = Container::new("c2").unwrap();
    let add = runtime.add(&gone).unwrap();
    drop(gone);
    assert_done(&runtime.call("DEL", "c2", "").unwrap());
    let again = runtime.add(&container).unwrap();
    assert_ne!(again.addresses(), add.addresses(), "an address rests before another container has it");
}

#[test]
fn gc_frees_what_is_not_valid_and_nothing_else() {
    let fabric = pod_fabric(1).unwrap();
    let runtime = Runtime::new(&fabric, 1).unwrap();
    let containers: Vec<Container> = ["c1", "c2", "c3"].iter().map(|id| Container::new(id).unwrap()).collect();
    let adds: Vec<Outcome> = containers.iter().map(|container| runtime.add(container).unwrap()).collect();
    let other = runtime.with("name", json!("other")).with("routes", json!([])).named("net1");
    let other_add = other.add(&containers[0]).unwrap();
    let valid = json!([{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c2", "ifname": "eth9"}]);
    assert_done(&runtime.with("cni.dev/valid-attachments", valid).run("GC", &containers[0]).unwrap());
    let checked = |runtime: &Runtime, index: usize, add: &Outcome| {
        after(runtime, add).run("CHECK", &containers[index]).unwrap().code()
    };
    assert_eq!(checked(&runtime, 0, &adds[0]), None);
    assert_eq!(checked(&other, 0, &other_add), None, "another configuration");
    assert_eq!(checked(&runtime, 1, &adds[1]), Some(104), "another interface of it is valid");
    assert_eq!(checked(&runtime, 2, &adds[2]), Some(104));
    assert!(containers[2].namespace.index("eth0").is_err());
    assert_eq!(runtime.run("GC", &containers[0]).unwrap().code(), Some(7), "without a list nothing is removed");
}

#[test]
fn status_says_whether_add_can_be_served() {
    let mut fabric = pod_fabric(1).unwrap();
    let runtime = Runtime::new(&fabric, 1).unwrap();
    assert_done(&runtime.call("STATUS", "", "").unwrap());
    let elsewhere = runtime.with("network", json!("tenants/shop/networks/nowhere"));
    let refused = elsewhere.call("STATUS", "", "").unwrap();
    assert_eq!(refused.code(), Some(50), "{}", refused.output);
    assert!(refused.output["details"].as_str().unwrap().contains("nowhere"));
    // A network of four addresses, of which two are for workloads.
    fabric
        .apply(
            "kind: Network\nname: tenants/shop/networks/tiny\n---\nkind: Subnet\nname: tenants/shop/networks/tiny/subnets/s\n\
             cidr: 10.9.0.0/29\nhost: hosts/h1\n---\nkind: SecurityGroup\nname: tenants/shop/networks/tiny/securityGroups/open\nrules: []\n",
        )
        .unwrap();
    let tiny = runtime.with("network", json!("tenants/shop/networks/tiny"));
    let containers: Vec<Container> = (0..5).map(|number| Container::new(&format!("c{number}")).unwrap()).collect();
    for container in &containers {
        tiny.add(container).unwrap();
    }
    assert_eq!(tiny.call("STATUS", "", "").unwrap().code(), Some(50));
    let full = tiny.run("ADD", &Container::new("c6").unwrap()).unwrap();
    assert_eq!(full.code(), Some(101), "{}", full.output);
    fabric.agent_mut(1).unwrap().stop(nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(runtime.call("STATUS", "", "").unwrap().code(), Some(50));
    assert_eq!(runtime.run("ADD", &Container::new("c7").unwrap()).unwrap().code(), Some(11), "to be tried again");
}

#[test]
fn what_the_runtime_asks_for_is_given_or_refused() {
    let fabric = pod_fabric(1).unwrap();
    let runtime = Runtime::new(&fabric, 1).unwrap();
    let asked = json!({"mac": "02:00:00:00:77:01", "ips": ["10.1.1.77/24"]});
    let container = Container::new("c1").unwrap();
    let add = runtime.with("runtimeConfig", asked.clone()).add(&container).unwrap();
    assert_eq!(add.addresses()[0].to_string(), "10.1.1.77");
    assert_eq!(add.addresses().len(), 2, "the other family is given one");
    assert_eq!(container.namespace.mac("eth0").unwrap(), [2, 0, 0, 0, 0x77, 1]);
    let cases = [
        ("runtimeConfig", asked, 102, "in use"),
        ("runtimeConfig", json!({"mac": "02:00:00:00:77:01"}), 102, "in use"),
        ("runtimeConfig", json!({"ips": ["10.1.1.1"]}), 102, "router"),
        ("runtimeConfig", json!({"ips": ["10.0.0.9"]}), 102, "gives out"),
        ("runtimeConfig", json!({"ips": ["junk"]}), 102, "no IP address"),
        ("runtimeConfig", json!({"bandwidth": {"ingressRate": 1}}), 2, "bandwidth"),
        ("securityGroups", json!(["nobody"]), 7, "nobody"),
        ("securityGroups", json!(["Not a name"]), 7, "Not a name"),
        ("network", json!("junk"), 7, "junk"),
        ("ipam", json!({}), 2, "ipam"),
    ];
    for (field, value, code, word) in cases {
        let other = Container::new("c2").unwrap();
        let refused = runtime.with(field, value.clone()).run("ADD", &other).unwrap();
        assert_eq!(refused.code(), Some(code), "{field} = {value}: {}", refused.output);
        assert!(refused.output["details"].as_str().unwrap().contains(word), "{word}: {}", refused.output);
        assert!(other.namespace.index("eth0").is_err(), "never half a pod");
    }
}

#[test]
fn a_pod_has_several_networks_and_results_have_the_form_of_their_version() {
    let fabric = pod_fabric(1).unwrap();
    let container = Container::new("c1").unwrap();
    let mut runtime = Runtime::new(&fabric, 1).unwrap();
    for (number, version) in ["0.4.0", "1.0.0", "1.1.0"].iter().enumerate() {
        let interface = format!("net{number}");
        runtime = runtime.named(&interface).with("cniVersion", json!(version));
        if number == 1 {
            let refused = runtime.run("ADD", &container).unwrap();
            assert!(refused.output["details"].as_str().unwrap().contains("0.0.0.0/0"), "{}", refused.output);
            assert!(container.namespace.index("net1").is_err(), "nothing is left of it");
        }
        if number > 0 {
            runtime = runtime.with("routes", json!([{"dst": format!("10.20{number}.0.0/16")}]));
        }
        let add = runtime.add(&container).unwrap();
        assert_eq!(add.output["cniVersion"], json!(version));
        let ip = &add.output["ips"][0];
        assert_eq!(ip.get("version").is_some(), *version == "0.4.0", "{ip}");
        let inside = &add.output["interfaces"][ip["interface"].as_u64().unwrap() as usize];
        assert_eq!((&inside["name"], &inside["sandbox"]), (&json!(interface), &json!(container.netns())));
        assert_eq!(inside.get("mtu"), (*version == "1.1.0").then_some(&json!(1500)));
        let routes = if number == 0 { 2 } else { 1 };
        assert_eq!(add.output["routes"].as_array().unwrap().len(), routes, "{}", add.output["routes"]);
        assert_done(&after(&runtime, &add).run("CHECK", &container).unwrap());
    }
}

/// Sets switches of the kernel in a namespace.
fn switch(namespace: &Namespace, switches: &[(&str, &str)]) {
    let set = || switches.iter().try_for_each(|(name, value)| std::fs::write(format!("/proc/sys/net/{name}"), value));
    namespace.run(set).unwrap().unwrap();
}

/// Where the node finds somebody else under the address of a pod, there is no pod.
fn one_address_is_of_one_pod(runtime: &Runtime, node: &Namespace) {
    let taken = Container::new("taken").unwrap();
    node.ip("route add 10.1.1.99/32 dev behind0").unwrap();
    let wish = runtime.with("runtimeConfig", json!({"ips": ["10.1.1.99"]}));
    let refused = wish.run("ADD", &taken).unwrap();
    assert_eq!(refused.code(), Some(102), "{}", refused.output);
    assert!(taken.namespace.index("eth0").is_err(), "nothing is left of it");
}

#[test]
fn the_node_itself_reaches_its_pods_and_what_it_forwards_is_judged_by_their_rules() {
    let fabric = pod_fabric(2).unwrap();
    // Without a group nothing is admitted.
    let closed = Runtime::new(&fabric, 1).unwrap().with("securityGroups", json!([]));
    let runtime = closed.with("nodeAccess", json!(true));
    let node = fabric.agent(1).unwrap().namespace();
    node.ip(&format!("addr add 2001:db8::1/64 dev {UPLINK} nodad")).unwrap();
    let (pod, shut) = (Container::new("probed").unwrap(), Container::new("shut").unwrap());
    let add = runtime.add(&pod).unwrap();
    let shut_address = closed.add(&shut).unwrap().addresses()[0];
    assert_done(&after(&runtime, &add).run("CHECK", &pod).unwrap());
    let _servers = [("pod", &pod.namespace), ("shut", &shut.namespace), ("node", node)]
        .map(|(name, namespace)| Responder::start(namespace, name, &[80], &[]).unwrap());
    let addresses = add.addresses();
    for (address, own) in addresses.iter().zip(["192.0.2.1", "2001:db8::1"]) {
        let own = SocketAddr::new(own.parse().unwrap(), 80);
        let answered =
            || tcp_probe(node, SocketAddr::new(*address, 80), SHORT).unwrap().answered_by("pod").then_some(());
        wait::until("the node's probe is answered", LONG, answered).unwrap();
        assert!(tcp_probe(&pod.namespace, own, SHORT * 4).unwrap().answered_by("node"), "the pod reaches {own}");
        assert!(ping(node, *address, andromede_testkit::traffic::Ping::default()).unwrap().outcome().is_answered());
    }
    let outcome = tcp_probe(node, SocketAddr::new(shut_address, 80), SHORT).unwrap();
    assert!(!outcome.is_answered(), "not asked for, not there");

    // Behind the node, and on another node.
    let behind = Namespace::new().unwrap();
    veth(node, "behind0", &behind, "eth0", 1500).unwrap();
    node.ip("addr add 198.51.100.1/24 dev behind0").unwrap();
    behind.ip_batch(&["addr add 198.51.100.2/24 dev eth0", "route add default via 198.51.100.1"]).unwrap();
    let lenient = [
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/behind0/rp_filter", "0"),
        ("ipv4/conf/behind0/accept_local", "1"),
        ("ipv4/conf/all/accept_local", "1"),
    ];
    switch(node, &lenient);
    let other = fabric.agent(2).unwrap().namespace();
    other.ip(&format!("route add {}/32 via 192.0.2.1", addresses[0])).unwrap();
    let before = dropped(&fabric, "ingress-rule").unwrap();
    for stranger in [&behind, other] {
        let outcome = tcp_probe(stranger, SocketAddr::new(addresses[0], 80), SHORT).unwrap();
        assert!(!outcome.is_answered(), "forwarded: {outcome:?}");
    }
    dropped_more(&fabric, "ingress-rule", before, 2).unwrap();
    let open = Container::new("open").unwrap();
    let web = runtime.with("securityGroups", json!(["web"])).add(&open).unwrap().addresses()[0];
    let _server = Responder::start(&open.namespace, "open", &[80, 81], &[]).unwrap();
    let asked = |port| tcp_probe(&behind, SocketAddr::new(web, port), SHORT * 4).unwrap();
    assert!(asked(80).answered_by("open") && !asked(81).is_answered(), "a rule admits port 80 from everywhere");
    // In the node's own name, which a lenient kernel forwards.
    let before = dropped(&fabric, "host-not-admitted").unwrap();
    let IpAddr::V4(to) = addresses[0] else { panic!("{addresses:?}") };
    let ends = Ends::new((behind.mac("eth0").unwrap(), [192, 0, 2, 1]), (node.mac("behind0").unwrap(), to.octets()));
    let seen = RawSocket::open(&pod.namespace, "eth0", true).unwrap();
    let forged = ends.tcp(&Tcp::new(7777, 80, tcp_flag::SYN), b"");
    RawSocket::open_to_send(&behind, "eth0").unwrap().send(&forged).unwrap();
    dropped_more(&fabric, "host-not-admitted", before, 1).unwrap();
    let is_forged = |frame: &[u8]| frame.get(34..36) == Some(&7777_u16.to_be_bytes());
    assert_eq!(seen.receive_matching(SHORT, is_forged).unwrap(), None, "none of it arrives");

    one_address_is_of_one_pod(&runtime, node);
    assert_done(&runtime.run("DEL", &pod).unwrap());
    let left = node.exec("ip route show 10.1.1.0/24").unwrap();
    assert!(!String::from_utf8_lossy(&left.stdout).contains(&format!("{} ", addresses[0])), "{left:?}");
}
