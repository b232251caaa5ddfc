//! Promise 7: what you plan is what you get. The trace, over the rows of the real hosts, says what the kernels then do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use andromede_testkit::{
    Fabric, FabricOptions, Workload,
    traffic::{Responder, tcp_probe, udp_probe},
};
use andromede_tests::{Bundle, bundle::port_name, dropped, scene::both};
use serde_json::Value;

const SHORT: Duration = Duration::from_millis(400);
const TCP: [u16; 3] = [80, 443, 8080];
const UDP: [u16; 1] = [53];

/// Rules of which every protocol meets one that allows and one that does not.
const SERVER: [&str; 4] = [
    "{name: web, direction: ingress, action: allow, protocol: tcp, ports: [\"80-443\"], remoteGroup: tenants/red/networks/net/securityGroups/client}",
    "{name: never, direction: ingress, action: deny, priority: 10, protocol: tcp, ports: [\"443\"]}",
    "{name: names, direction: ingress, action: allow, protocol: udp, ports: [\"53\"], remoteCidr: 10.0.0.0/24}",
    "{name: echo, direction: ingress, action: allow, protocol: icmp}",
];

fn trace(fabric: &Fabric, to: IpAddr, protocol: &str, port: u16) -> Value {
    let (from, to, port) = (port_name("red", "client"), to.to_string(), port.to_string());
    let mut arguments = vec!["trace", "--from", &from, "--to", &to, "--proto", protocol];
    if protocol != "icmp" {
        arguments.extend(["--dport", &port]);
    }
    fabric.control().json(&arguments).unwrap()
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap_or_default()
}

#[test]
fn what_the_trace_says_is_what_the_kernels_do() {
    for host in [1, 2] {
        let fabric = Fabric::start(FabricOptions::default()).unwrap();
        let bundle = Bundle::hosts(2)
            .tenant("red", 4001)
            .group("red", "client", &[])
            .group("red", "server", &SERVER)
            .port("red", "client", 1, 11, &["client"])
            .port("red", "server", host, 12, &["server"]);
        fabric.apply(bundle.text()).unwrap();
        let client: Workload = fabric.attach(1, &port_name("red", "client")).unwrap();
        let server = fabric.attach(host, &port_name("red", "server")).unwrap();
        fabric.wait_in_force().unwrap();
        let _responder = Responder::start(server.namespace(), "server", &TCP, &UDP).unwrap();
        for to in both(12) {
            let tcp = TCP.into_iter().map(|port| ("tcp", port));
            for (protocol, port) in tcp.chain([("udp", 53), ("icmp", 0)]) {
                let told = trace(&fabric, to, protocol, port);
                let before = dropped(&fabric, "ingress-rule").unwrap();
                // What the trace promises is waited for, however busy the machine.
                let limit = if text(&told, "outcome") == "delivered" { SHORT * 10 } else { SHORT };
                let passes = match protocol {
                    "tcp" => {
                        tcp_probe(client.namespace(), SocketAddr::new(to, port), limit).unwrap().answered_by("server")
                    }
                    "udp" => {
                        udp_probe(client.namespace(), SocketAddr::new(to, port), limit).unwrap().answered_by("server")
                    }
                    _ => client.ping(to).unwrap().outcome().is_answered(),
                };
                let what = format!("{protocol} {to} {port}, server on h{host}: {told:#}");
                assert_eq!(text(&told, "outcome") == "delivered", passes, "{what}");
                if !passes {
                    assert_eq!(text(&told, "reason"), "ingress-rule", "{what}");
                    assert!(text(&told, "remedy").contains("direction: ingress"), "{what}");
                    assert!(dropped(&fabric, "ingress-rule").unwrap() > before, "{what}");
                }
            }
        }
        // The rule that decided has its name.
        let [v4, v6] = both(12);
        for (to, port, rule) in [(v4, 80, "server/web"), (v6, 443, "server/never"), (v4, 8080, "default-ingress")] {
            assert_eq!(text(&trace(&fabric, to, "tcp", port), "rule"), rule);
        }
    }
}
