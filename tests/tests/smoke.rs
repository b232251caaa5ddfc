//! The packet path alone: every program loads, and two tenants with the same addresses on two hosts are kept apart. Quick
//! enough for an emulated machine with another kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use andromede_model::{Admitted, NetworkView};
use andromede_testkit::{
    Namespace, Underlay,
    fabric::INTERFACE,
    packet::{Ends, vxlan},
    raw::RawSocket,
    requires,
    traffic::{Responder, tcp_probe, udp_probe},
    underlay::UPLINK,
};
use andromede_tests::{
    dialogue::Dialogue,
    direct::DirectFabric,
    scene::{both, v4},
};
use serde_json::{Value, json};

const SHORT: Duration = Duration::from_millis(200);
const RED_VNI: u32 = 4001;

fn documents() -> Vec<Value> {
    let host = |number: u8| json!({"kind": "Host", "name": format!("hosts/h{number}"), "underlayAddress": format!("192.0.2.{number}")});
    let mut documents = vec![host(1), host(2)];
    for (tenant, vni) in [("red", RED_VNI), ("blue", RED_VNI + 1)] {
        let network = format!("tenants/{tenant}/networks/net");
        let group = format!("{network}/securityGroups/web");
        let port = |name: &str, host: &str, last: u8| {
            json!({"kind": "Port", "name": format!("{network}/ports/{name}"), "host": host, "securityGroups": [group],
                "addresses": [format!("10.0.0.{last}"), format!("fd00:10::{last}")]})
        };
        documents.extend([
            json!({"kind": "Tenant", "name": format!("tenants/{tenant}")}),
            json!({"kind": "Network", "name": network, "vni": vni}),
            json!({"kind": "Subnet", "name": format!("{network}/subnets/v4"), "cidr": "10.0.0.0/24"}),
            json!({"kind": "Subnet", "name": format!("{network}/subnets/v6"), "cidr": "fd00:10::/64"}),
            json!({"kind": "SecurityGroup", "name": group, "rules": [
                {"name": "web", "direction": "ingress", "action": "allow", "protocol": "tcp", "ports": ["80"]},
                {"name": "dns", "direction": "ingress", "action": "allow", "protocol": "udp", "ports": ["53"]},
                {"name": "talk", "direction": "ingress", "action": "allow", "protocol": "udp", "ports": ["5000"]},
                {"name": "echo", "direction": "ingress", "action": "allow", "protocol": "icmp"},
                {"name": "echo6", "direction": "ingress", "action": "allow", "protocol": "icmpv6"},
            ]}),
            port("a", "hosts/h1", 11),
            port("b", "hosts/h2", 12),
        ]);
    }
    documents
}

#[test]
fn two_tenants_on_two_hosts_are_kept_apart() {
    requires::require(&["ip"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut fabric = DirectFabric::start(documents(), folder.path()).unwrap();
    let stranger = fabric.underlay.join(77).unwrap();
    let of = |host: usize, tenant: &str, port: &str| {
        fabric.workload(host, &format!("tenants/{tenant}/networks/net/ports/{port}")).unwrap()
    };
    let (red_a, blue_a) = (of(1, "red", "a"), of(1, "blue", "a"));
    let _red = Responder::start(of(2, "red", "b").namespace(), "red b", &[80, 81], &[53]).unwrap();
    let _blue = Responder::start(of(2, "blue", "b").namespace(), "blue b", &[80, 81], &[53]).unwrap();
    for to in both(12) {
        for (from, own) in [(red_a, "red b"), (blue_a, "blue b")] {
            let limit = SHORT * 15;
            assert!(from.ping(to).unwrap().outcome().is_answered(), "{own} answers a ping of {to}");
            assert!(tcp_probe(from.namespace(), SocketAddr::new(to, 80), limit).unwrap().answered_by(own), "{to}");
            assert!(udp_probe(from.namespace(), SocketAddr::new(to, 53), limit).unwrap().answered_by(own), "{to}");
        }
    }
    // The same frame from a stranger and from the host that holds its source.
    let ear = RawSocket::open(red_a.namespace(), INTERFACE, true).unwrap();
    let h1 = fabric.hosts[0].namespace.mac(UPLINK).unwrap();
    let inner = Ends::new((of(2, "red", "b").mac().unwrap(), v4(12)), (red_a.mac().unwrap(), v4(11)));
    let send = |from: &Namespace, number| {
        let outer =
            Ends::new((from.mac(UPLINK).unwrap(), IpAddr::V4(Underlay::address(number))), (h1, Underlay::address(1)));
        let frame = vxlan(&outer, 50_000, RED_VNI, &inner.echo(true, 1, 1, b"andromede-smoke"));
        RawSocket::open_to_send(from, UPLINK).unwrap().send(&frame).unwrap();
    };
    let arrives = || {
        let marked = |frame: &[u8]| frame.windows(15).any(|window| window == b"andromede-smoke");
        ear.receive_matching(SHORT, marked).unwrap().is_some()
    };
    // What is refused is waited for: all of it at once.
    send(&stranger, 77);
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(!arrives(), "from a stranger"));
        for (from, to) in
            [red_a, blue_a].into_iter().flat_map(|from| both(12).map(|to| (from, SocketAddr::new(to, 81))))
        {
            scope.spawn(move || {
                assert!(!tcp_probe(from.namespace(), to, SHORT).unwrap().is_answered(), "there is no rule for {to}");
            });
        }
    });
    send(&fabric.hosts[1].namespace, 2);
    assert!(arrives(), "from the host that holds its source");
    place_is_law(&mut fabric);
}

/// Host 1 is told that both tenants have ends on host 2, and that the red network may not be in the zone of that host.
fn place_is_law(fabric: &mut DirectFabric) {
    let net = |tenant: &str| format!("tenants/{tenant}/networks/net");
    let told = |view: &mut NetworkView| {
        view.hosts.values_mut().for_each(|host| host.zone_index = 2);
        let red = view.network.name.to_string() == net("red");
        view.zones = Admitted::Zones([if red { 1 } else { 2 }].into());
    };
    let at = |fabric: &DirectFabric, host: usize, tenant: &str, port: &str| {
        fabric.workload(host, &format!("{}/ports/{port}", net(tenant))).unwrap().namespace().clone()
    };
    let [red, blue] = ["red", "blue"].map(|tenant| {
        let (from, to) = (at(fabric, 1, tenant, "a"), at(fabric, 2, tenant, "b"));
        Dialogue::udp(&from, SocketAddr::new(v4(11), 6_001), &to, SocketAddr::new(v4(12), 5_000))
    });
    assert!([&red, &blue].iter().all(|line| line.backward()), "both may be anywhere");
    fabric.hosts[0].tell(told).unwrap();
    let ear = RawSocket::open(&fabric.hosts[1].namespace, UPLINK, true).unwrap();
    let from = at(fabric, 1, "red", "a");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(!red.forward_within(SHORT), "a live connection ends with the law that let it be");
        });
        scope.spawn(|| {
            let fresh = udp_probe(&from, SocketAddr::new(v4(12), 53), SHORT).unwrap();
            assert!(!fresh.is_answered(), "nor is a new one let");
        });
        assert!(blue.forward() && blue.backward(), "another network's goes on");
    });
    let of_red = |frame: &[u8]| frame.get(46..49) == RED_VNI.to_be_bytes().get(1..);
    assert!(ear.receive_matching(SHORT / 3, of_red).unwrap().is_none(), "nothing of the red network is on the wire");
}
