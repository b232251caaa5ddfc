//! Tunnels that a workload makes itself, inside its network: the fabric carries them as it carries everything else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::net::{IpAddr, SocketAddr};

use andromede_testkit::{
    Namespace, Workload,
    capture::{Capture, tshark, write_pcap},
    traffic::{Ping, Sink, ping, send_segments, send_stream},
    underlay::{MTU_DEFAULT, UPLINK, set_offloads},
};
use andromede_tests::{
    TwoTenants,
    scene::{RED_VNI, v4, v6},
};

/// Overhead of VXLAN over IPv6: what a tunnel in a workload must leave free.
const NESTED_MTU: u32 = 1500 - 70;

/// Ends of a tunnel: the arguments of `ip link add`, in which `LOCAL` and `REMOTE` are replaced.
fn tunnel(a: &Workload, b: &Workload, ends: [IpAddr; 2], line: &str) -> anyhow::Result<()> {
    for (workload, [local, remote], last) in [(a, [ends[0], ends[1]], 1), (b, [ends[1], ends[0]], 2)] {
        let line = line.replace("LOCAL", &local.to_string()).replace("REMOTE", &remote.to_string());
        workload.namespace().ip_batch(&[
            format!("link add tun9 mtu {NESTED_MTU} type {line}"),
            format!("addr add 172.16.0.{last}/24 dev tun9"),
            format!("addr add fd99::{last}/64 dev tun9 nodad"),
            "link set tun9 up".to_owned(),
        ])?;
    }
    Ok(())
}

fn carries(from: &Namespace, to: &Namespace, what: &str) {
    let sink = Sink::start(to, 9000).unwrap();
    for address in ["172.16.0.2", "fd99::2"].map(|text| text.parse::<IpAddr>().unwrap()) {
        let report = ping(from, address, Ping { count: 5, ..Ping::default() }).unwrap();
        assert_eq!((report.received(), report.duplicates), (5, 0), "{what}: ping of {address}");
        let sent = send_stream(from, SocketAddr::new(address, 9000), 32 << 20).unwrap();
        assert!(sent.same_bytes(&sink.report().unwrap()), "{what}: TCP to {address}");
        let (sent, read) = send_segments(from, to, SocketAddr::new(address, 9001), 1200, 4_000_000).unwrap();
        assert!(sent.same_bytes(&read), "{what}: UDP_SEGMENT to {address}");
    }
}

#[test]
fn a_workloads_own_tunnels_are_carried() {
    let scene = TwoTenants::start().unwrap();
    let vxlan = "vxlan id 9 local LOCAL remote REMOTE dstport 4789";
    let mut kinds = vec![("VXLAN in IPv4", vxlan, false), ("VXLAN in IPv6", vxlan, true)];
    // What the kernel at hand may not have.
    for (what, line, ipv6) in [
        ("GRE", "gretap local LOCAL remote REMOTE", false),
        ("GRE in IPv6", "ip6gretap local LOCAL remote REMOTE", true),
    ] {
        let end = if ipv6 { "fd00::1" } else { "192.0.2.1" };
        let line_here = line.replace("LOCAL", end).replace("REMOTE", end);
        if Namespace::new().unwrap().ip(&format!("link add tun9 type {line_here}")).is_ok() {
            kinds.push((what, line, ipv6));
        }
    }
    for offloads in [true, false] {
        for number in [1, 2] {
            set_offloads(scene.fabric.agent(number).unwrap().namespace(), UPLINK, offloads).unwrap();
        }
        for (what, line, ipv6) in &kinds {
            let address = if *ipv6 { v6 } else { v4 };
            for (other, last, place) in [(&scene.red_b, 12, "across hosts"), (&scene.red_c, 13, "on one host")] {
                tunnel(&scene.red_a, other, [address(11), address(last)], line).unwrap();
                let told = format!("{what} {place}, the underlay's offloads {offloads}");
                carries(scene.red_a.namespace(), other.namespace(), &told);
                for workload in [&scene.red_a, other] {
                    workload.namespace().ip("link delete tun9").unwrap();
                }
            }
        }
    }
}

/// What the kernel's device encapsulates looks on the wire as what the packet path does.
#[test]
fn a_tunnel_in_a_tunnel_is_vxlan_as_any_other() {
    let scene = TwoTenants::start().unwrap();
    tunnel(&scene.red_a, &scene.red_b, [v4(11), v4(12)], "vxlan id 9 local LOCAL remote REMOTE dstport 4790").unwrap();
    let capture = Capture::start(scene.fabric.underlay().switch(), "port2").unwrap();
    let sink = Sink::start(scene.red_b.namespace(), 9000).unwrap();
    let to = SocketAddr::new("172.16.0.2".parse().unwrap(), 9000);
    let sent = send_stream(scene.red_a.namespace(), to, 1 << 20).unwrap();
    assert!(sent.same_bytes(&sink.report().unwrap()));
    let path = scene.fabric.folder().join("nested.pcap");
    write_pcap(&path, &capture.stop().unwrap()).unwrap();
    let fields = ["ip.src", "ip.dst", "ip.flags.df", "ip.ttl", "udp.checksum", "vxlan.vni", "udp.srcport", "ip.len"];
    let lines = tshark(&path, "udp.dstport == 4789 && udp.dstport == 4790", &fields).unwrap();
    assert!(lines.len() > 20, "{} frames", lines.len());
    for line in &lines {
        let [source, destination, df, ttl, checksum, vni, port, length] =
            std::array::from_fn(|field| line[field].split(',').next().unwrap());
        let hosts = ["192.0.2.1", "192.0.2.2"];
        assert!(hosts.contains(&source) && hosts.contains(&destination) && source != destination, "{line:?}");
        assert!(["1", "True"].contains(&df), "DF is set: {line:?}");
        assert_eq!((ttl, checksum, vni), ("64", "0x0000", RED_VNI.to_string().as_str()), "{line:?}");
        assert!(port.parse::<u16>().unwrap() >= 49_152, "{line:?}");
        assert!(length.parse::<u32>().unwrap() <= MTU_DEFAULT, "{line:?}");
    }
}
