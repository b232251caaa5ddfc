//! Connections of real workloads: what the kernels at both ends do by themselves passes, and what they would not do does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{net::SocketAddr, time::Duration};

use andromede_testkit::{
    Fabric, FabricOptions, Workload,
    fabric::INTERFACE,
    packet::{Ends, Tcp, tcp_flag},
    raw::RawSocket,
    traffic::{Outcome, Ping, Responder, ping, tcp_probe, udp_probe},
    underlay::MTU_DEFAULT,
};
use andromede_tests::{
    Bundle,
    bundle::port_name,
    dropped, dropped_more,
    scene::{both, v4, v6},
};

const SHORT: Duration = Duration::from_millis(500);
/// Ports that the server's rules let in; it listens at the first only.
const WEB: &str = "{name: web, direction: ingress, action: allow, protocol: tcp, ports: ['80-81']}";
const DNS: &str = "{name: dns, direction: ingress, action: allow, protocol: udp, ports: ['53-54']}";
const SCTP: &str = "{name: sctp, direction: ingress, action: allow, protocol: sctp, ports: ['3868']}";

/// A client that admits nothing, on h1, and a server on the host given.
struct Pair {
    client: Workload,
    server: Workload,
    _responder: Responder,
    fabric: Fabric,
}

impl Pair {
    fn start(server_host: u8) -> Self {
        let fabric = Fabric::start(FabricOptions::default()).unwrap();
        let bundle = Bundle::hosts(2)
            .tenant("red", 4001)
            .group("red", "client", &[])
            .group("red", "server", &[WEB, DNS, SCTP])
            .port("red", "client", 1, 11, &["client"])
            .port("red", "server", server_host, 12, &["server"]);
        fabric.apply(bundle.text()).unwrap();
        let client = fabric.attach(1, &port_name("red", "client")).unwrap();
        let server = fabric.attach(server_host, &port_name("red", "server")).unwrap();
        fabric.wait_in_force().unwrap();
        let responder = Responder::start(server.namespace(), "server", &[80], &[53]).unwrap();
        Self { client, server, _responder: responder, fabric }
    }

    /// States of the connections to a port of the server, as `andromedectl flows` tells them, of all hosts.
    fn states(&self, port: u16) -> Vec<String> {
        let flows = self.fabric.control().json(&["flows"]).unwrap();
        let all = flows["flows"].as_array().cloned().unwrap_or_default();
        let of_port = all.iter().filter(|flow| flow["answererPort"].as_u64() == Some(u64::from(port)));
        of_port.map(|flow| flow["state"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Frames from the client to the server, as raw bytes.
    fn ends(&self) -> Ends {
        Ends::new((self.client.mac().unwrap(), v4(11)), (self.server.mac().unwrap(), v4(12)))
    }

    fn mouth(&self) -> RawSocket {
        RawSocket::open(self.client.namespace(), INTERFACE, true).unwrap()
    }

    fn ear(&self) -> RawSocket {
        RawSocket::open(self.server.namespace(), INTERFACE, true).unwrap()
    }
}

/// Is this a segment with these flags to this port?
fn is_tcp(frame: &[u8], flags: u8, port: u16) -> bool {
    frame.get(23) == Some(&6) && frame.get(36..38) == Some(&port.to_be_bytes()) && frame.get(47) == Some(&flags)
}

#[test]
fn a_refusal_is_told_by_reset_and_by_icmp_without_a_rule_for_either() {
    for host in [1, 2] {
        let pair = Pair::start(host);
        for to in both(12) {
            let tcp = tcp_probe(pair.client.namespace(), SocketAddr::new(to, 81), SHORT * 10).unwrap();
            assert!(matches!(tcp, Outcome::Refused(_)), "{to} on h{host}: {tcp:?}");
            let udp = udp_probe(pair.client.namespace(), SocketAddr::new(to, 54), SHORT * 10).unwrap();
            assert!(matches!(udp, Outcome::Refused(_)), "port unreachable from {to} on h{host}: {udp:?}");
            assert!(tcp_probe(pair.client.namespace(), SocketAddr::new(to, 80), SHORT * 10).unwrap().is_answered());
            assert!(udp_probe(pair.client.namespace(), SocketAddr::new(to, 53), SHORT * 10).unwrap().is_answered());
        }
        assert!(pair.states(81).iter().all(|state| state == "reset"), "{:?}", pair.states(81));
    }
}

#[test]
fn an_error_about_nothing_reaches_nobody() {
    let pair = Pair::start(2);
    let ends = pair.ends();
    let before = dropped(&pair.fabric, "unrelated-icmp-error").unwrap();
    // The client claims that the server sent it something, which it never did.
    let never = ends.reversed().tcp(&Tcp::new(80, 40_000, tcp_flag::ACK), b"never");
    let ear = pair.ear();
    pair.mouth().send(&ends.icmp_error((3, 1), &never)).unwrap();
    dropped_more(&pair.fabric, "unrelated-icmp-error", before, 1).unwrap();
    assert_eq!(ear.receive_matching(SHORT, |frame| frame.get(23) == Some(&1)).unwrap(), None);
}

#[test]
fn a_connection_is_half_open_then_established_then_closed_and_opens_again() {
    for host in [1, 2] {
        let pair = Pair::start(host);
        let (ends, mouth, ear) = (pair.ends(), pair.mouth(), pair.ear());
        let hosts = if host == 1 { 1 } else { 2 };
        // The port is not listened at, and the client's kernel knows nothing of the connection: both ends are played here.
        pair.server.namespace().exec("ip route add blackhole 10.0.0.11/32").unwrap();
        pair.client.namespace().exec("ip route add blackhole 10.0.0.12/32").unwrap();
        let answer = RawSocket::open(pair.server.namespace(), INTERFACE, true).unwrap();
        let from_client = |flags| mouth.send(&ends.tcp(&Tcp::new(40_000, 81, flags), b"")).unwrap();
        let from_server = |flags| answer.send(&ends.reversed().tcp(&Tcp::new(81, 40_000, flags), b"")).unwrap();
        let heard = |flags| {
            assert!(
                ear.receive_matching(SHORT, |frame| is_tcp(frame, flags, 81)).unwrap().is_some(),
                "{flags} (h{host})"
            );
        };
        let is = |state: &str| assert_eq!(pair.states(81), vec![state; hosts], "h{host}");
        let before = dropped(&pair.fabric, "not-answered").unwrap();
        from_client(tcp_flag::SYN);
        heard(tcp_flag::SYN);
        is("half-open");
        from_client(tcp_flag::ACK);
        dropped_more(&pair.fabric, "not-answered", before, 1).unwrap();
        from_server(tcp_flag::SYN | tcp_flag::ACK);
        is("half-open");
        from_client(tcp_flag::ACK);
        heard(tcp_flag::ACK);
        is("established");
        from_client(tcp_flag::FIN | tcp_flag::ACK);
        heard(tcp_flag::FIN | tcp_flag::ACK);
        is("closing");
        from_server(tcp_flag::FIN | tcp_flag::ACK);
        std::thread::sleep(SHORT);
        is("closed");
        from_client(tcp_flag::SYN);
        heard(tcp_flag::SYN);
        is("half-open");
    }
}

#[test]
fn an_association_begins_with_an_init() {
    let pair = Pair::start(2);
    let (ends, mouth, ear) = (pair.ends(), pair.mouth(), pair.ear());
    let heard = |chunk: u8| {
        let is_it = |frame: &[u8]| frame.get(23) == Some(&132) && frame.get(46) == Some(&chunk);
        ear.receive_matching(SHORT, is_it).unwrap().is_some()
    };
    let before = dropped(&pair.fabric, "no-connection").unwrap();
    mouth.send(&ends.sctp(40_000, 3868, 7, 0)).unwrap();
    assert!(!heard(0), "data of no association");
    dropped_more(&pair.fabric, "no-connection", before, 1).unwrap();
    mouth.send(&ends.sctp(40_000, 3868, 0, 1)).unwrap();
    assert!(heard(1), "an INIT");
    let before = dropped(&pair.fabric, "not-answered").unwrap();
    mouth.send(&ends.sctp(40_000, 3868, 7, 10)).unwrap();
    assert!(!heard(10), "a cookie that nobody gave");
    dropped_more(&pair.fabric, "not-answered", before, 1).unwrap();
    let answer = RawSocket::open(pair.server.namespace(), INTERFACE, true).unwrap();
    answer.send(&ends.reversed().sctp(3868, 40_000, 9, 2)).unwrap();
    std::thread::sleep(SHORT);
    mouth.send(&ends.sctp(40_000, 3868, 7, 10)).unwrap();
    assert!(heard(10), "the cookie of the answer");
    assert_eq!(pair.states(3868), ["established"; 2]);
}

#[test]
fn timeouts_are_those_of_the_network() {
    let pair = Pair::start(2);
    let network = "kind: Network\nname: tenants/red/networks/net\nvni: 4001\ntimeouts: {udpOneWaySeconds: 5}\n";
    pair.fabric.apply(network).unwrap();
    let ends = pair.ends();
    pair.mouth().send(&ends.udp(5_000, 54, b"?")).unwrap();
    std::thread::sleep(SHORT);
    assert_eq!(pair.states(54).len(), 2);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(pair.states(54).len(), 0, "it is over after 5 s");
}

#[test]
fn a_workload_learns_how_large_a_packet_may_be() {
    let pair = Pair::start(2);
    let most = MTU_DEFAULT - 50;
    // As if somebody had set it by hand. A veth takes four bytes more than its MTU, for a tag.
    pair.client.namespace().ip(&format!("link set {INTERFACE} mtu {}", most + 4)).unwrap();
    for (to, headers) in [(v4(12), 28), (v6(12), 48)] {
        let before = dropped(&pair.fabric, "too-big").unwrap();
        let large = Ping { size: most as usize + 4 - headers, dont_fragment: true, ..Ping::default() };
        ping(pair.client.namespace(), to, large).unwrap();
        dropped_more(&pair.fabric, "too-big", before, 1).unwrap();
        let route = pair.client.namespace().exec(&format!("ip route get {to}")).unwrap();
        let route = String::from_utf8_lossy(&route.stdout).into_owned();
        assert!(route.contains(&format!("mtu {most}")), "{to}: {route}");
    }
}
