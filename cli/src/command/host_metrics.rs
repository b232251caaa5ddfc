//! `andromedectl host metrics`: a host in the text format of Prometheus (version 0.0.4), for the textfile collector of its node exporter.
//!
//! The agent opens no port for it. There is no name of a tenant, a network or a port in it.

use std::{collections::BTreeMap, fmt::Write as _};

use andromede_proto::{local::v1::GetHostStatusResponse, v1::ListDropsResponse};

/// Each metric: its name, and what it says. All are gauges: counters of ports that are gone may be forgotten.
const METRICS: [(&str, &str); 7] = [
    ("andromede_host_build_info", "Always 1; the labels are the version of the agent and how programs are attached."),
    ("andromede_host_connected", "1 while the session with the controller is open, otherwise 0."),
    ("andromede_host_failing", "1 while something of what the host was told is not in force, otherwise 0."),
    ("andromede_host_applied_revision", "The last revision that is in force on the host."),
    ("andromede_host_ports", "Ports that are placed on the host, or attached to it."),
    ("andromede_host_ports_attached", "Those of them whose workload is attached."),
    ("andromede_host_dropped_packets", "Packets that the host dropped, by `reason` (docs/drop-reasons.md)."),
];

/// All of them as they are now.
pub(super) fn told(status: &GetHostStatusResponse, drops: &ListDropsResponse) -> String {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for count in &drops.counts {
        let sum = reasons.entry(&count.reason).or_default();
        *sum = sum.saturating_add(count.packets);
    }
    let by_reason = reasons.into_iter().map(|(reason, packets)| (format!("{{reason={reason:?}}}"), packets));
    let attached = status.ports.iter().filter(|port| port.attached).count();
    let build = format!("{{version={:?},attachment={:?}}}", status.version, status.attachment);
    let one = |value: u64| vec![(String::new(), value)];
    let values = [
        vec![(build, 1)],
        one(status.connected.into()),
        one((!status.error.is_empty()).into()),
        one(status.applied_revision),
        one(status.ports.len() as u64),
        one(attached as u64),
        by_reason.collect(),
    ];
    let mut text = String::new();
    for ((name, help), values) in METRICS.into_iter().zip(values) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in values {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use andromede_proto::{
        local::v1::LocalPort,
        v1::{DropCount, HostError},
    };

    use super::*;

    #[test]
    fn a_host_is_told_in_numbers_without_names() {
        let port =
            |attached| LocalPort { port: "tenants/t/networks/n/ports/p".to_owned(), attached, ..LocalPort::default() };
        let status = GetHostStatusResponse {
            host: "hosts/h1".to_owned(),
            version: "0.1.0".to_owned(),
            attachment: "tcx".to_owned(),
            connected: true,
            applied_revision: 7,
            ports: vec![port(true), port(false)],
            ..GetHostStatusResponse::default()
        };
        let count = |reason: &str, packets| DropCount {
            reason: reason.to_owned(),
            packets,
            port: "tenants/t/networks/n/ports/p".to_owned(),
            ..DropCount::default()
        };
        let counts = vec![count("ingress-rule", 3), count("spoofed-source", 2), count("ingress-rule", 4)];
        let drops = ListDropsResponse { counts, recent: Vec::new(), errors: vec![HostError::default()] };
        let text = told(&status, &drops);
        for line in [
            "andromede_host_build_info{version=\"0.1.0\",attachment=\"tcx\"} 1",
            "andromede_host_connected 1",
            "andromede_host_failing 0",
            "andromede_host_applied_revision 7",
            "andromede_host_ports 2",
            "andromede_host_ports_attached 1",
            "andromede_host_dropped_packets{reason=\"ingress-rule\"} 7",
            "andromede_host_dropped_packets{reason=\"spoofed-source\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(!text.contains("tenants/") && !text.contains("hosts/"));
        let document = include_str!("../../../docs/metrics.md");
        for (name, help) in METRICS {
            assert!(document.contains(&format!("| `{name}` | gauge | {help} |")), "docs/metrics.md: {name}");
        }
    }
}
