//! Interfaces of the host and of workloads, in network namespaces that the test makes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use andromede_agent::host::{
    interface_name,
    netlink::Netlink,
    netns::{Netns, NetnsError},
    underlay::{Underlay, UnderlayError},
    veth::{self, VethError, Workload},
};
use andromede_model::Uid;
use andromede_testkit::{Namespace, requires};

const PORT: u16 = 4789;

/// Runs an asynchronous job in a namespace.
fn inside<T: Send>(namespace: &Namespace, job: impl AsyncFnOnce(Netlink) -> T + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { job(Netlink::open().unwrap()).await })
    };
    namespace.run(run).unwrap()
}

fn host(mtu: u32) -> (Namespace, Namespace) {
    requires::require(&["ip", "tc"]).unwrap();
    let (host, other) = (Namespace::new().unwrap(), Namespace::new().unwrap());
    andromede_testkit::namespace::veth(&host, "up0", &other, "up0", mtu).unwrap();
    host.ip("address add 192.0.2.1/24 dev up0").unwrap();
    other.ip("address add 192.0.2.2/24 dev up0").unwrap();
    (host, other)
}

fn text(namespace: &Namespace, line: &str) -> String {
    String::from_utf8(namespace.exec(line).unwrap().stdout).unwrap()
}

/// The node's main address.
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn workload(port: &str) -> Workload {
    Workload {
        port: port.to_owned(),
        uid: Uid::UNSET,
        interface: "eth0".to_owned(),
        mac: [2, 0, 0, 0, 0, 7],
        mtu: 1450,
        addresses: vec![("10.0.0.7".parse().unwrap(), 24), ("fd00:10::7".parse().unwrap(), 64)],
        routers: vec!["10.0.0.1".parse().unwrap(), "fd00:10::1".parse().unwrap()],
        destinations: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        node_access: false,
        infrastructure: Vec::new(),
    }
}

#[test]
fn the_underlay_is_made_once_and_found_again() {
    let (host, _other) = host(1600);
    let (first, second) = inside(&host, async |netlink| {
        let first = Underlay::establish(&netlink, "up0", PORT).await.unwrap();
        (first, Underlay::establish(&netlink, "up0", PORT).await.unwrap())
    });
    assert_eq!(first, second);
    assert_eq!(first.workload_mtu(0), 1550);
    assert_eq!(first.workload_mtu(1400), 1400);
    assert_eq!(first.workload_mtu(9000), 1550);
    first.check_address("192.0.2.1".parse().unwrap()).unwrap();
    assert!(matches!(first.check_address("192.0.2.9".parse().unwrap()), Err(UnderlayError::WrongAddress { .. })));
    let device = text(&host, "ip -d link show amd-vxlan");
    for expected in ["external", "dstport 4789", "nolearning", "NOARP", ",UP", "addrgenmode none"] {
        assert!(device.contains(expected), "{expected} is missing: {device}");
    }
    assert_eq!(text(&host, "ip address show dev amd-vxlan").matches("inet").count(), 0);
    assert_eq!(text(&host, "cat /proc/sys/net/ipv4/conf/amd-vxlan/forwarding").trim(), "0");
}

#[test]
fn what_stands_in_the_way_is_named() {
    let (first, _other) = host(1500);
    first.ip("link add vx0 type vxlan id 5 dstport 4789 local 192.0.2.1").unwrap();
    let refused = inside(&first, async |netlink| Underlay::establish(&netlink, "up0", PORT).await.unwrap_err());
    assert!(matches!(&refused, UnderlayError::PortTaken { device, .. } if device == "vx0"), "{refused}");
    let refused = inside(&first, async |netlink| Underlay::establish(&netlink, "up1", PORT).await.unwrap_err());
    assert!(matches!(refused, UnderlayError::NoUplink(_)));

    let (second, _other) = host(1300);
    let refused = inside(&second, async |netlink| Underlay::establish(&netlink, "up0", PORT).await.unwrap_err());
    assert!(matches!(refused, UnderlayError::SmallMtu { mtu: 1300, .. }));

    let (third, _other) = host(1500);
    let _socket = third.run(|| UdpSocket::bind(("0.0.0.0", PORT)).unwrap()).unwrap();
    let refused = inside(&third, async |netlink| Underlay::establish(&netlink, "up0", PORT).await.unwrap_err());
    assert!(matches!(refused, UnderlayError::SocketTaken { port: PORT, .. }), "{refused}");
}

/// Promise 1: with every program detached nothing crosses.
#[test]
fn nothing_comes_out_of_the_idle_vxlan_device() {
    let (host, other) = host(1500);
    let listener = host.run(|| UdpSocket::bind("0.0.0.0:5353").unwrap()).unwrap();
    listener.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    inside(&host, async |netlink| drop(Underlay::establish(&netlink, "up0", PORT).await.unwrap()));
    let mac = host.mac("amd-vxlan").unwrap().map(|byte| format!("{byte:02x}")).join(":");
    other.ip("link add vx0 type vxlan id 77 remote 192.0.2.1 dstport 4789 nolearning").unwrap();
    other.ip("address add 10.9.0.2/24 dev vx0").unwrap();
    other.ip("link set vx0 up").unwrap();
    // The host's own address, as if it were behind the tunnel, with the device's own Ethernet address.
    other.ip("route add 198.51.100.1/32 dev vx0").unwrap();
    other.ip(&format!("neighbor add 198.51.100.1 lladdr {mac} dev vx0 nud permanent")).unwrap();
    host.ip("address add 198.51.100.1/32 dev lo").unwrap();
    let send = |to: &str| {
        let sender = other.run(|| UdpSocket::bind("10.9.0.2:0").unwrap()).unwrap();
        sender.set_broadcast(true).unwrap();
        sender.send_to(b"hello", to).unwrap();
    };
    send("198.51.100.1:5353");
    send("10.9.0.255:5353");
    assert!(listener.recv_from(&mut [0; 64]).is_err(), "a frame came through");
    let counters = text(&host, "ip -s -j link show amd-vxlan");
    assert!(!counters.contains("\"rx\":{\"bytes\":0"), "no frame arrived at all: {counters}");

    // The proof that the test can fail: without the static drop they do come through.
    host.exec("tc qdisc del dev amd-vxlan clsact").unwrap();
    for interface in ["amd-vxlan", "all"] {
        let file = format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter");
        host.run(|| std::fs::write(file, "0")).unwrap().unwrap();
    }
    host.ip("route add 10.9.0.0/24 dev amd-vxlan").unwrap();
    send("198.51.100.1:5353");
    assert!(listener.recv_from(&mut [0; 64]).is_ok(), "the test does not test");
}

#[test]
fn a_workload_gets_its_interface() {
    let (host, _other) = host(1500);
    let inner = Namespace::new().unwrap();
    let path = inner.path();
    let plan = workload("tenants/t/networks/n/ports/p");
    let outer = inside(&host, async |netlink| {
        let netns = Netns::open(&path).unwrap();
        let outer = veth::create(&netlink, &netns, &plan).await.unwrap();
        assert!(!netlink.link(&outer.name).await.unwrap().unwrap().up, "closed until told");
        veth::isolate(&netlink, &outer, &plan).await.unwrap();
        veth::bring_up(&netlink, &netns, outer.index, &plan, NODE).await.unwrap();
        // Again: nothing changes.
        veth::bring_up(&netlink, &netns, outer.index, &plan, NODE).await.unwrap();
        let taken = veth::create(&netlink, &netns, &workload("tenants/t/networks/n/ports/q")).await.unwrap_err();
        assert!(matches!(taken, VethError::Netlink(error) if error.errno() == Some(libc::EEXIST)), "the name inside");
        netlink.link(&outer.name).await.unwrap().unwrap()
    });
    assert_eq!(interface_name::port_of_alias(&outer.alias), Some(plan.port.as_str()));
    assert!(outer.up);
    let device = text(&inner, "ip -d address show dev eth0");
    for expected in ["gso_max_size 65472", "02:00:00:00:00:07", "mtu 1450", "10.0.0.7/24", "fd00:10::7/64", "state UP"]
    {
        assert!(device.contains(expected), "{expected} is missing: {device}");
    }
    let global = device.lines().find(|line| line.contains("fd00:10::7")).unwrap();
    assert!(!global.contains("tentative"), "duplicate address detection delays the first packet: {device}");
    assert!(text(&inner, "ip route").contains("default via 10.0.0.1 dev eth0"));
    assert!(text(&inner, "ip -6 route").contains("default via fd00:10::1 dev eth0"));
    assert!(!text(&host, &format!("ip address show dev {}", outer.name)).contains("inet"));
    // The namespace takes its interface along.
    drop(inner);
    let gone = |_| host.exec(&format!("ip link show dev {}", outer.name)).is_err();
    let waited = (0..50).any(|attempt| {
        gone(attempt) || {
            std::thread::sleep(Duration::from_millis(100));
            false
        }
    });
    assert!(waited, "the host side outlived the namespace");
}

#[test]
fn next_hops_are_those_of_the_kernel() {
    let (host, _other) = host(1500);
    host.ip("route add 198.51.100.0/24 via 192.0.2.254").unwrap();
    host.ip("link add up1 type veth peer name up2").unwrap();
    host.ip("link set up1 up").unwrap();
    host.ip("route add 203.0.113.0/24 dev up1").unwrap();
    let endpoints = ["192.0.2.7", "198.51.100.7", "203.0.113.7", "10.1.1.1"].map(|text| text.parse().unwrap());
    let gateways = inside(&host, async |netlink| {
        let underlay = Underlay::establish(&netlink, "up0", PORT).await.unwrap();
        underlay.gateways(&netlink, &endpoints.into_iter().collect()).await.unwrap()
    });
    let found = |endpoint: &str| gateways.get(&endpoint.parse::<Ipv4Addr>().unwrap()).map(ToString::to_string);
    assert_eq!(found("192.0.2.7").as_deref(), Some("192.0.2.7"), "on the link");
    assert_eq!(found("198.51.100.7").as_deref(), Some("192.0.2.254"), "behind a router");
    assert_eq!(found("203.0.113.7"), None, "over another interface");
    assert_eq!(found("10.1.1.1"), None, "no route");
}

#[test]
fn a_path_that_is_no_namespace_is_refused() {
    assert!(matches!(Netns::open("/no/such".as_ref()), Err(NetnsError::Open { .. })));
    assert!(matches!(Netns::open("/etc/passwd".as_ref()), Err(NetnsError::NotNetns { .. })));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let not_network = Netns::open("/proc/self/ns/uts".as_ref()).unwrap();
    assert!(matches!(runtime.block_on(not_network.run(async || ())), Err(NetnsError::Enter { .. })));
}
