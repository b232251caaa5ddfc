//! Promise 1: no frame of one tenant reaches another, whatever is forged, and whatever arrives on the underlay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use andromede_testkit::{
    Fabric, FabricOptions, Namespace, Underlay, Workload,
    fabric::INTERFACE,
    namespace::veth,
    packet::{
        ArpPacket, BROADCAST, Ends, Ipv4, Mac, Udp, VXLAN_PORT, ether_type, format_mac, neighbor_advertisement,
        protocol, vxlan, vxlan_header,
    },
    raw::RawSocket,
    traffic::{Outcome, Responder, tcp_probe, udp_probe},
    underlay::{MTU_DEFAULT, UPLINK},
    wait,
};
use andromede_tests::{
    TwoTenants, dropped, dropped_more,
    scene::{BLUE_VNI, RED_VNI, both, v4, v6},
};

/// How long an answer is waited for that must not come.
const SHORT: Duration = Duration::from_millis(400);
/// And for one that must: it may be a busy machine.
const PATIENT: Duration = Duration::from_secs(5);
/// Marks the frames of a test.
const MARK: &[u8] = b"andromede-mark-";

fn contains(frame: &[u8], mark: &[u8]) -> bool {
    frame.windows(mark.len()).any(|window| window == mark)
}

/// A datagram with a mark that nothing else carries.
fn marked(ends: &Ends, mark: &str) -> Vec<u8> {
    ends.udp(5_000, 5_001, &[MARK, mark.as_bytes()].concat())
}

fn v4_of(address: IpAddr) -> Ipv4Addr {
    let IpAddr::V4(v4) = address else { panic!("{address} is not IPv4") };
    v4
}

fn v6_of(address: IpAddr) -> Ipv6Addr {
    let IpAddr::V6(v6) = address else { panic!("{address} is not IPv6") };
    v6
}

/// What reaches a workload.
struct Ear(RawSocket);

impl Ear {
    fn at(workload: &Workload) -> Self {
        Self(RawSocket::open(workload.namespace(), INTERFACE, true).unwrap())
    }

    fn hears(&self, mark: &str) -> bool {
        let mark = [MARK, mark.as_bytes()].concat();
        self.0.receive_matching(SHORT, |frame| contains(frame, &mark)).unwrap().is_some()
    }
}

fn mouth(workload: &Workload) -> RawSocket {
    RawSocket::open(workload.namespace(), INTERFACE, true).unwrap()
}

#[test]
fn the_same_addresses_reach_ones_own_only() {
    let scene = TwoTenants::start().unwrap();
    let named = [
        (&scene.red_a, "red a"),
        (&scene.red_b, "red b"),
        (&scene.red_c, "red c"),
        (&scene.blue_a, "blue a"),
        (&scene.blue_b, "blue b"),
    ];
    let _responders = named.map(|(workload, name)| Responder::start(workload.namespace(), name, &[80], &[53]).unwrap());
    let ask = |from: &Workload, to: IpAddr, limit: Duration| {
        let tcp = tcp_probe(from.namespace(), SocketAddr::new(to, 80), limit).unwrap();
        let udp = udp_probe(from.namespace(), SocketAddr::new(to, 53), limit).unwrap();
        [tcp, udp, from.ping(to).unwrap().outcome()]
    };
    for (index, to) in both(12).into_iter().chain(both(13)).enumerate() {
        let own = if index < 2 { "red b" } else { "red c" };
        let [tcp, udp, ping] = ask(&scene.red_a, to, PATIENT);
        assert!(tcp.answered_by(own) && udp.answered_by(own) && ping.is_answered(), "{to}: {tcp:?} {udp:?} {ping:?}");
    }
    for to in both(12) {
        let [tcp, udp, ping] = ask(&scene.blue_a, to, PATIENT);
        assert!(tcp.answered_by("blue b") && udp.answered_by("blue b") && ping.is_answered(), "{to}: {tcp:?} {udp:?}");
    }
    let before = dropped(&scene.fabric, "unknown-neighbor").unwrap();
    for to in both(13) {
        for outcome in ask(&scene.blue_a, to, SHORT) {
            assert!(!outcome.is_answered(), "blue has no {to}, but {outcome:?}");
        }
    }
    dropped_more(&scene.fabric, "unknown-neighbor", before, 2).unwrap();
}

#[test]
fn forged_sources_do_not_leave_the_host() {
    let scene = TwoTenants::start().unwrap();
    let (mac, other) = (scene.red_a.mac().unwrap(), scene.red_c.mac().unwrap());
    let to = scene.red_b.mac().unwrap();
    let (mouth, ear, near) = (mouth(&scene.red_a), Ear::at(&scene.red_b), Ear::at(&scene.red_c));
    for (family, good, theirs, target, third) in
        [("v4", v4(11), v4(13), v4(12), v4(77)), ("v6", v6(11), v6(13), v6(12), v6(77))]
    {
        let send = |mark: &str, source_mac: Mac, source: IpAddr, reason: &str| {
            let before = dropped(&scene.fabric, reason).unwrap();
            let mark = format!("{family}-{mark}");
            mouth.send(&marked(&Ends::new((source_mac, source), (to, target)), &mark)).unwrap();
            assert!(!ear.hears(&mark), "{mark} arrived");
            dropped_more(&scene.fabric, reason, before, 1).unwrap();
        };
        send("forged-mac", other, good, "spoofed-mac");
        send("forged-source", mac, theirs, "spoofed-source");
        send("unassigned-source", mac, third, "spoofed-source");
        send("both-forged", other, theirs, "spoofed-mac");
        let own = format!("{family}-own");
        mouth.send(&marked(&Ends::new((mac, good), (to, target)), &own)).unwrap();
        assert!(ear.hears(&own), "the same frame with its own addresses arrives");
        let forged = format!("{family}-forged-near");
        mouth.send(&marked(&Ends::new((mac, third), (other, theirs)), &forged)).unwrap();
        assert!(!near.hears(&forged), "nor does a forged one reach a port of the same host");
    }
    // A tag would go with the frame onto the underlay: the kernel keeps it beside the bytes that a program sees.
    for (mark, target, last) in [("tagged-far", to, 12), ("tagged-near", other, 13)] {
        let before = dropped(&scene.fabric, "bad-ethernet").unwrap();
        let plain = marked(&Ends::new((mac, v4(11)), (target, v4(last))), mark);
        let (header, rest) = plain.split_at(12);
        let tag = [ether_type::VLAN.to_be_bytes(), 7u16.to_be_bytes()].concat();
        mouth.send(&[header, &tag, rest].concat()).unwrap();
        assert!(!ear.hears(mark) && !near.hears(mark), "{mark} arrived");
        dropped_more(&scene.fabric, "bad-ethernet", before, 1).unwrap();
    }
}

#[test]
fn address_resolution_cannot_be_poisoned() {
    let scene = TwoTenants::start().unwrap();
    let (mac, victim) = (scene.red_a.mac().unwrap(), scene.red_c.mac().unwrap());
    let mouth = mouth(&scene.red_a);
    let ear = RawSocket::open(scene.red_c.namespace(), INTERFACE, true).unwrap();
    let before = dropped(&scene.fabric, "spoofed-neighbor").unwrap();
    let ignored = dropped(&scene.fabric, "neighbor-ignored").unwrap();
    let claim =
        ArpPacket { operation: 2, sender_mac: mac, sender: v4_of(v4(12)), target_mac: victim, target: v4_of(v4(13)) };
    mouth.send(&claim.frame()).unwrap();
    let gratuitous = ArpPacket::request(mac, v4_of(v4(12)), v4_of(v4(12)));
    mouth.send(&gratuitous.frame()).unwrap();
    let claim = neighbor_advertisement(victim, mac, v6_of(v6(11)), v6_of(v6(13)), v6_of(v6(12)), mac);
    mouth.send(&claim).unwrap();
    let arrived = ear.receive_matching(SHORT, |frame| frame.get(6..12) == Some(&mac)).unwrap();
    assert_eq!(arrived, None, "a claim reached a neighbour");
    dropped_more(&scene.fabric, "spoofed-neighbor", before, 2).unwrap();
    // Nobody needs an advertisement: neighbours are told by the host.
    dropped_more(&scene.fabric, "neighbor-ignored", ignored, 1).unwrap();
    // The truth is told to who asks: the neighbour is known by its own address.
    assert!(scene.red_c.ping(v4(12)).unwrap().outcome().is_answered());
    let known = scene.red_c.namespace().exec("ip neigh show 10.0.0.12").unwrap();
    let known = String::from_utf8_lossy(&known.stdout).into_owned();
    assert!(!known.contains(&andromede_testkit::packet::format_mac(mac)), "{known}");
}

/// A frame for a workload as a tunnel endpoint would send it: sender and receiver on the underlay, and the inner frame.
struct Tunnel {
    outer: Ends,
    inner: Ends,
}

impl Tunnel {
    /// The same to blue/a, which has the same addresses.
    fn to_blue_a(from: &Namespace, number: u8, scene: &TwoTenants, source: (Mac, IpAddr)) -> Self {
        let mut tunnel = Self::to_red_a(from, number, scene, source);
        tunnel.inner.destination_mac = scene.blue_a.mac().unwrap();
        tunnel
    }

    /// From a namespace on the underlay to host h1, and inside from `source` to red/a.
    fn to_red_a(from: &Namespace, number: u8, scene: &TwoTenants, source: (Mac, IpAddr)) -> Self {
        let h1 = scene.fabric.agent(1).unwrap().namespace().mac(UPLINK).unwrap();
        let outer = Ends::new((from.mac(UPLINK).unwrap(), Underlay::address(number)), (h1, Underlay::address(1)));
        let target = if source.1.is_ipv4() { v4(11) } else { v6(11) };
        Self { outer, inner: Ends::new(source, (scene.red_a.mac().unwrap(), target)) }
    }

    fn frame(&self, vni: u32, mark: &str) -> Vec<u8> {
        vxlan(&self.outer, 49_999, vni, &marked(&self.inner, mark))
    }
}

#[test]
fn only_members_of_a_network_may_send_into_it() {
    let mut scene = TwoTenants::start_with(FabricOptions { hosts: 3, ..FabricOptions::default() }).unwrap();
    // Host h3 is a member of blue alone.
    scene.fabric.apply(TwoTenants::bundle(3).port("blue", "d", 3, 14, &["open"]).text()).unwrap();
    let stranger = scene.fabric.underlay_mut().join(77).unwrap();
    let (h2, h3) =
        (scene.fabric.agent(2).unwrap().namespace().clone(), scene.fabric.agent(3).unwrap().namespace().clone());
    let b = scene.red_b.mac().unwrap();
    let c = scene.red_c.mac().unwrap();
    let (red, blue) = (Ear::at(&scene.red_a), Ear::at(&scene.blue_a));
    let raw = |from: &Namespace| RawSocket::open(from, UPLINK, true).unwrap();
    for (family, of_b, of_c, of_d) in [("v4", v4(12), v4(13), v4(14)), ("v6", v6(12), v6(13), v6(14))] {
        let good = Tunnel::to_red_a(&h2, 2, &scene, (b, of_b));
        let mark = format!("{family}-member");
        raw(&h2).send(&good.frame(RED_VNI, &mark)).unwrap();
        assert!(red.hears(&mark), "what the holder of the address sends arrives: the frames of this test are good");

        let refused = |who: &str, from: &Namespace, tunnel: &Tunnel, vni: u32, reason: &str| {
            let before = dropped(&scene.fabric, reason).unwrap();
            let mark = format!("{family}-{who}");
            raw(from).send(&tunnel.frame(vni, &mark)).unwrap();
            assert!(!red.hears(&mark) && !blue.hears(&mark), "{mark} arrived");
            dropped_more(&scene.fabric, reason, before, 1).unwrap();
        };
        let forged = Tunnel::to_red_a(&stranger, 77, &scene, (b, of_b));
        refused("stranger", &stranger, &forged, RED_VNI, "unknown-sender");
        let outsider = Tunnel::to_red_a(&h3, 3, &scene, (b, of_b));
        refused("host-of-the-other-network", &h3, &outsider, RED_VNI, "unknown-sender");
        let own = Tunnel::to_blue_a(&h3, 3, &scene, (b, of_d));
        let mark = format!("{family}-member-of-blue");
        raw(&h3).send(&own.frame(BLUE_VNI, &mark)).unwrap();
        assert!(blue.hears(&mark), "what h3 holds arrives");
        refused("forged-vni", &h3, &own, RED_VNI, "unknown-sender");
        let of_another = Tunnel::to_blue_a(&h3, 3, &scene, (b, of_b));
        refused("held-by-another", &h3, &of_another, BLUE_VNI, "sender-not-holder");
        let of_nobody = Tunnel::to_blue_a(&h3, 3, &scene, (b, if of_b.is_ipv4() { v4(99) } else { v6(99) }));
        refused("held-by-nobody", &h3, &of_nobody, BLUE_VNI, "sender-not-holder");
        let not_held = Tunnel::to_red_a(&h2, 2, &scene, (c, of_c));
        refused("not-held", &h2, &not_held, RED_VNI, "sender-not-holder");
        refused("not-held-in-other-network", &h2, &not_held, BLUE_VNI, "sender-not-holder");
        refused("unknown-vni", &h2, &good, 77_777, "unknown-sender");
    }
}

/// The vxlan device hears on every interface of the host; what did not pass the underlay's program has not its mark.
#[test]
fn the_tunnel_port_answers_on_no_other_interface() {
    let scene = TwoTenants::start().unwrap();
    let h1 = scene.fabric.agent(1).unwrap().namespace().clone();
    let h2 = scene.fabric.agent(2).unwrap().namespace().clone();
    let elsewhere = Namespace::new().unwrap();
    veth(&h1, "up1", &elsewhere, UPLINK, MTU_DEFAULT).unwrap();
    let mac = format_mac(h1.mac(UPLINK).unwrap());
    h1.ip_batch(&["addr add 198.51.100.1/24 dev up1".to_owned(), format!("link set up1 address {mac}")]).unwrap();
    // The kernel's own check of sources would drop it as well: not here.
    for interface in ["all", "up1"] {
        let file = format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter");
        h1.run(|| std::fs::write(file, "0")).unwrap().unwrap();
    }
    let red = Ear::at(&scene.red_a);
    for source in [v4(12), v6(12)] {
        let source = (scene.red_b.mac().unwrap(), source);
        let good = Tunnel::to_red_a(&h2, 2, &scene, source);
        RawSocket::open(&h2, UPLINK, true).unwrap().send(&good.frame(RED_VNI, "good")).unwrap();
        assert!(red.hears("good"), "by the underlay it arrives");
        let before = dropped(&scene.fabric, "not-from-underlay").unwrap();
        let forged = Tunnel::to_red_a(&elsewhere, 2, &scene, source);
        RawSocket::open(&elsewhere, UPLINK, true).unwrap().send(&forged.frame(RED_VNI, "elsewhere")).unwrap();
        assert!(!red.hears("elsewhere"));
        dropped_more(&scene.fabric, "not-from-underlay", before, 1).unwrap();
    }
}

#[test]
fn outer_options_and_fragments_get_nowhere() {
    let mut scene = TwoTenants::start().unwrap();
    let h2 = scene.fabric.agent(2).unwrap().namespace().clone();
    let stranger = scene.fabric.underlay_mut().join(77).unwrap();
    let b = scene.red_b.mac().unwrap();
    let red = Ear::at(&scene.red_a);
    for (who, from, number) in [("member", &h2, 2), ("stranger", &stranger, 77)] {
        let tunnel = Tunnel::to_red_a(from, number, &scene, (b, v4(12)));
        let socket = RawSocket::open(from, UPLINK, true).unwrap();
        let (source, destination) = tunnel.outer.v4().unwrap();
        let carried = |mark: &str| {
            let payload = [&vxlan_header(RED_VNI)[..], &marked(&tunnel.inner, mark)].concat();
            Udp { source: 49_999, destination: VXLAN_PORT }.wrap_with_checksum(0, &payload)
        };
        let mark = format!("{who}-options");
        let before = dropped(&scene.fabric, "outer-options").unwrap();
        // Three times "no operation" and the end of the list.
        let optioned = Ipv4 { options: vec![1, 1, 1, 0], ..Ipv4::new(source, destination) };
        socket.send(&tunnel.outer.ipv4(&optioned, protocol::UDP, &carried(&mark))).unwrap();
        assert!(!red.hears(&mark), "{mark} arrived");
        dropped_more(&scene.fabric, "outer-options", before, 1).unwrap();

        let mark = format!("{who}-fragments");
        let before = dropped(&scene.fabric, "outer-fragment").unwrap();
        let whole = carried(&mark);
        let (first, second) = whole.split_at(56);
        let base = Ipv4 { dont_fragment: false, id: 4711, ..Ipv4::new(source, destination) };
        let head = Ipv4 { more_fragments: true, ..base.clone() };
        let tail = Ipv4 { fragment_offset: 7, ..base };
        socket.send(&tunnel.outer.ipv4(&head, protocol::UDP, first)).unwrap();
        socket.send(&tunnel.outer.ipv4(&tail, protocol::UDP, second)).unwrap();
        assert!(!red.hears(&mark), "{mark} arrived");
        // The second names no port: without the first, which does, it is never put together.
        dropped_more(&scene.fabric, "outer-fragment", before, 1).unwrap();
    }
}

#[test]
fn a_workload_cannot_make_its_own_tunnel() {
    let scene = TwoTenants::start().unwrap();
    let mac = scene.red_a.mac().unwrap();
    let inner = Ends::new((scene.blue_b.mac().unwrap(), v4(12)), (scene.blue_a.mac().unwrap(), v4(11)));
    let blue = Ear::at(&scene.blue_a);
    let port = RawSocket::open(scene.fabric.underlay().switch(), "port2", false).unwrap();
    let before = dropped(&scene.fabric, "unknown-destination").unwrap();
    for (mark, to) in [("to-own-host", Underlay::address(1)), ("to-other-host", Underlay::address(2))] {
        let outer = Ends::new((mac, v4(11)), (BROADCAST, IpAddr::V4(to)));
        let outer = Ends { destination_mac: scene.red_c.mac().unwrap(), ..outer };
        mouth(&scene.red_a).send(&vxlan(&outer, 49_999, BLUE_VNI, &marked(&inner, mark))).unwrap();
        let mark_bytes = [MARK, mark.as_bytes()].concat();
        assert!(!blue.hears(mark), "{mark} arrived");
        assert_eq!(port.receive_matching(SHORT, |frame| contains(frame, &mark_bytes)).unwrap(), None, "{mark} left");
    }
    dropped_more(&scene.fabric, "unknown-destination", before, 2).unwrap();
}

/// Detaches every program of a stopped agent: removes the pinned links and the filters of this network namespace.
fn detach_programs(fabric: &Fabric, number: u8) {
    let place = fabric.agent(number).unwrap().place();
    let folder = place.pins.as_ref().unwrap().folder().join("andromede").join(&place.instance);
    let removed = place.pins.as_ref().unwrap().run(|| {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
        let links = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("link"));
        links.map(|link| std::fs::remove_file(link.path()).unwrap()).count()
    });
    assert!(removed.unwrap() > 0, "no pinned link in {}", folder.display());
}

/// The same where programs are filters: all of their rank, on every interface.
fn detach_filters(fabric: &Fabric, number: u8) {
    let host = fabric.agent(number).unwrap().namespace();
    let listed = String::from_utf8(host.exec("ip -o link show").unwrap().stdout).unwrap();
    let names = listed.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next());
    let filters = names.flat_map(|name| ["ingress", "egress"].map(|side| format!("{name} {side}")));
    let removed = filters.filter(|place| host.exec(&format!("tc filter delete dev {place} pref 1")).is_ok()).count();
    assert!(removed > 4, "{removed} filters in:\n{listed}");
}

#[test]
fn with_every_program_detached_nothing_crosses() {
    nothing_crosses_without("tcx", detach_programs);
}

#[test]
fn with_every_filter_removed_nothing_crosses() {
    nothing_crosses_without("clsact", detach_filters);
}

fn nothing_crosses_without(attachment: &'static str, detach: impl Fn(&Fabric, u8)) {
    let mut scene = TwoTenants::start_with(FabricOptions { attachment, ..FabricOptions::default() }).unwrap();
    let _b = Responder::start(scene.red_b.namespace(), "red b", &[80], &[53]).unwrap();
    assert!(scene.red_a.ping(v4(12)).unwrap().outcome().is_answered(), "before, it does");
    assert!(scene.red_a.ping(v4(13)).unwrap().outcome().is_answered(), "before, it does");
    let stranger = scene.fabric.underlay_mut().join(77).unwrap();
    for number in [1, 2] {
        scene.fabric.agent_mut(number).unwrap().stop(nix::sys::signal::Signal::SIGKILL).unwrap();
        detach(&scene.fabric, number);
    }
    // The kernel detaches a link that nobody holds a moment later.
    wait::until("programs are detached", Duration::from_secs(5), || {
        (!scene.red_a.ping(v4(12)).unwrap().outcome().is_answered()).then_some(())
    })
    .unwrap();
    for to in both(12).into_iter().chain(both(13)) {
        assert!(!scene.red_a.ping(to).unwrap().outcome().is_answered(), "a ping of {to} was answered");
        assert!(!scene.blue_a.ping(to).unwrap().outcome().is_answered(), "a ping of {to} was answered");
        let tcp = tcp_probe(scene.red_a.namespace(), SocketAddr::new(to, 80), SHORT).unwrap();
        assert!(!matches!(tcp, Outcome::Answered { .. }), "{tcp:?}");
    }
    let ears = [Ear::at(&scene.red_a), Ear::at(&scene.blue_a), Ear::at(&scene.red_c)];
    let h2 = scene.fabric.agent(2).unwrap().namespace().clone();
    for (who, from, number) in [("member", &h2, 2), ("stranger", &stranger, 77)] {
        for source in [v4(12), v6(12)] {
            let tunnel = Tunnel::to_red_a(from, number, &scene, (scene.red_b.mac().unwrap(), source));
            let mark = format!("detached-{who}-{source}");
            RawSocket::open(from, UPLINK, true).unwrap().send(&tunnel.frame(RED_VNI, &mark)).unwrap();
            assert!(!ears.iter().any(|ear| ear.hears(&mark)), "{mark} arrived");
        }
    }
}
