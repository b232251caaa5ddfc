//! Datagrams in pieces between real workloads: the kernel's own fragments, and raw ones in odd orders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::Range,
    time::Duration,
};

use andromede_testkit::{
    Fabric, FabricOptions, Workload,
    fabric::INTERFACE,
    packet::{Ends, Tcp, Udp, protocol, tcp_flag},
    raw::RawSocket,
};
use andromede_tests::{
    Bundle,
    bundle::port_name,
    dropped, dropped_more,
    scene::{BLUE_VNI, RED_VNI, both, v4, v6},
};

const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(400);
/// Port that a rule names.
const SERVICE: u16 = 5_000;

/// Two tenants with ports `a` and `c` on one host and `b` on the other. Into `red` one UDP port may be reached, into `blue` all.
struct Scene {
    fabric: Fabric,
    red: [Workload; 3],
    blue: [Workload; 3],
}

impl Scene {
    fn start() -> Self {
        let service =
            format!("{{name: service, direction: ingress, action: allow, protocol: udp, ports: ['{SERVICE}']}}");
        let web = "{name: web, direction: ingress, action: allow, protocol: tcp, ports: ['80']}";
        let datagrams = "{name: datagrams, direction: ingress, action: allow, protocol: udp}";
        let mut bundle = Bundle::hosts(2)
            .tenant("red", RED_VNI)
            .group("red", "in", &[&service, web])
            .tenant("blue", BLUE_VNI)
            .group("blue", "in", &[datagrams]);
        let ports = [("a", 1, 11), ("b", 2, 12), ("c", 1, 13)];
        for tenant in ["red", "blue"] {
            for (port, host, last) in ports {
                bundle = bundle.port(tenant, port, host, last, &["in"]);
            }
        }
        let fabric = Fabric::start(FabricOptions::default()).unwrap();
        fabric.apply(bundle.text()).unwrap();
        let attach = |tenant| ports.map(|(port, host, _)| fabric.attach(host, &port_name(tenant, port)).unwrap());
        let (red, blue) = (attach("red"), attach("blue"));
        fabric.wait_in_force().unwrap();
        Self { fabric, red, blue }
    }
}

fn socket(at: &Workload, address: IpAddr, port: u16) -> UdpSocket {
    let socket = at.namespace().run(|| UdpSocket::bind((address, port))).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

/// Eight kilobytes there and back, over MTU 1450: six fragments each way.
#[test]
fn large_datagrams_cross_hosts_and_stay_whole() {
    let scene = Scene::start();
    let before = dropped(&scene.fabric, "fragment").unwrap();
    let [a, b, c] = &scene.red;
    for (to, at) in [(v4(12), b), (v6(12), b), (v4(13), c), (v6(13), c)] {
        let server = socket(at, to, SERVICE);
        let client = socket(a, if to.is_ipv4() { v4(11) } else { v6(11) }, 6_000);
        for round in 0..40 {
            let sent = pattern(8_000 + usize::from(round), round);
            client.send_to(&sent, (to, SERVICE)).unwrap();
            let mut buffer = vec![0; 20_000];
            let (length, from) = server.recv_from(&mut buffer).unwrap_or_else(|error| panic!("{to}: {error}"));
            assert!(buffer[..length] == sent, "{to}: what arrives is what was sent");
            server.send_to(&buffer[..length], from).unwrap();
            let (length, from) = client.recv_from(&mut buffer).unwrap_or_else(|error| panic!("from {to}: {error}"));
            assert_eq!(from, SocketAddr::new(to, SERVICE));
            assert!(buffer[..length] == sent, "{to}: and so does the answer");
        }
    }
    assert_eq!(dropped(&scene.fabric, "fragment").unwrap(), before, "the kernel sends the first fragment first");
}

/// A datagram of which any piece can be sent.
struct Pieces<'a> {
    mouth: RawSocket,
    ends: Ends,
    datagram: Vec<u8>,
    ear: UdpSocket,
    scene: &'a Scene,
}

impl<'a> Pieces<'a> {
    /// From `a` to `b`, which is on the other host.
    fn new(scene: &'a Scene, [a, b, _]: &[Workload; 3], to: IpAddr, port: u16) -> Self {
        Self::between(scene, (a, 11), b, to, port)
    }

    /// From a workload with this last byte of its addresses to another.
    fn between(scene: &'a Scene, (sender, last): (&Workload, u8), at: &Workload, to: IpAddr, port: u16) -> Self {
        let from = if to.is_ipv4() { v4(last) } else { v6(last) };
        let ends = Ends::new((sender.mac().unwrap(), from), (at.mac().unwrap(), to));
        let ear = socket(at, to, port);
        ear.set_read_timeout(Some(SHORT)).unwrap();
        let datagram = Udp { source: 6_001, destination: port }.wrap(from, to, &pattern(2_992, 7));
        let mouth = RawSocket::open(sender.namespace(), INTERFACE, true).unwrap();
        Self { mouth, ends, datagram, ear, scene }
    }

    fn send(&self, id: u32, range: Range<usize>) {
        self.mouth.send(&self.ends.piece(id, protocol::UDP, &self.datagram, range)).unwrap();
    }

    fn send_all(&self, id: u32, ranges: &[Range<usize>]) {
        for range in ranges {
            self.send(id, range.clone());
        }
    }

    /// Did the datagram arrive, and whole?
    fn arrives(&self) -> bool {
        let mut buffer = [0; 4_000];
        match self.ear.recv(&mut buffer) {
            Ok(length) => {
                assert!(buffer[..length] == self.datagram[8..], "not what was sent");
                true
            }
            Err(_) => false,
        }
    }

    /// What this sends is dropped for this reason.
    fn drops(&self, reason: &str, times: u64, send: impl Fn(&Self)) {
        let before = dropped(&self.scene.fabric, reason).unwrap();
        send(self);
        dropped_more(&self.scene.fabric, reason, before, times).unwrap();
    }
}

#[test]
fn any_order_where_a_rule_allows_the_protocol_and_the_first_first_elsewhere() {
    let scene = Scene::start();
    let orders: [&[Range<usize>]; 3] = [
        &[0..1_000, 1_000..2_000, 2_000..3_000],
        &[0..1_000, 2_000..3_000, 1_000..2_000],
        &[2_000..3_000, 0..1_000, 1_000..2_000],
    ];
    for to in both(12) {
        let (named, all) = (Pieces::new(&scene, &scene.red, to, SERVICE), Pieces::new(&scene, &scene.blue, to, 7_777));
        for (id, order) in (100..).zip(orders) {
            all.send_all(id, order);
            assert!(all.arrives(), "{to}: {order:?}");
        }
        for (id, order) in (200..).zip(&orders[..2]) {
            named.send_all(id, order);
            assert!(named.arrives(), "{to}: {order:?}");
        }
        named.drops("fragment", 1, |pieces| pieces.send_all(300, orders[2]));
        assert!(!named.arrives(), "{to}: the last came before its first, and only a port is allowed");
        let closed = Pieces::new(&scene, &scene.red, to, SERVICE + 1);
        closed.drops("fragment", 2, |pieces| pieces.send_all(400, orders[0]));
        assert!(!closed.arrives(), "{to}: a port that no rule allows");
    }
}

#[test]
fn what_a_forger_sends_in_pieces() {
    let scene = Scene::start();
    for to in both(12) {
        let pieces = Pieces::new(&scene, &scene.red, to, SERVICE);
        pieces.drops("fragment-overlap", 1, |pieces| {
            pieces.send(1, 0..1_000);
            pieces.send(1, 992..3_000 - 1_000);
        });
        pieces.drops("fragment-overlap", 1, |pieces| {
            pieces.send(2, 0..1_000);
            pieces.send(2, 0..1_000);
        });
        pieces.drops("header-fragment", 1, |pieces| pieces.send(3, 8..1_000));
        let from_flags = pieces.ends.loose_piece(7, protocol::TCP, 1, false, &[tcp_flag::SYN; 24]);
        pieces.drops("header-fragment", 1, |pieces| pieces.mouth.send(&from_flags).unwrap());
        let segment = Tcp::new(1, 80, tcp_flag::SYN).wrap(pieces.ends.source, to, &[0; 100]);
        pieces.drops("tiny-fragment", 1, |pieces| {
            pieces.mouth.send(&pieces.ends.piece(4, protocol::TCP, &segment, 0..16)).unwrap();
        });
        pieces.drops("bad-fragment", 1, |pieces| {
            let odd = pieces.ends.loose_piece(5, protocol::UDP, 9, true, &[0; 101]);
            pieces.mouth.send(&odd).unwrap();
        });
        pieces.drops("fragment-too-long", 1, |pieces| {
            let long = pieces.ends.loose_piece(6, protocol::UDP, 8_191, false, &[0; 100]);
            pieces.mouth.send(&long).unwrap();
        });
        assert!(!pieces.arrives());
    }
}

/// A port that floods others with first fragments loses what it has in flight itself, and nobody else does.
#[test]
fn a_flood_of_firsts_is_its_own_ports_loss() {
    let scene = Scene::start();
    let [a, _, c] = &scene.red;
    for (to, far) in both(11).into_iter().zip(both(12)) {
        let neighbor = Pieces::between(&scene, (c, 13), a, to, SERVICE);
        let flooder = Pieces::new(&scene, &scene.red, far, SERVICE);
        neighbor.send(1, 0..1_000);
        for id in 1..=200 {
            flooder.send(id, 0..1_000);
        }
        neighbor.send_all(1, &[1_000..2_000, 2_000..3_000]);
        assert!(neighbor.arrives(), "{to}: the neighbour's datagram");
        flooder.drops("fragment", 2, |flooder| flooder.send_all(1, &[1_000..2_000, 2_000..3_000]));
        assert!(!flooder.arrives(), "{far}: the flooder's first one");
        flooder.send_all(200, &[1_000..2_000, 2_000..3_000]);
        assert!(flooder.arrives(), "{far}: its last one");
    }
}
