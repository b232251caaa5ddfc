//! The reasons of refusals, as `andromedectl drops` tells them.

use std::{net::IpAddr, time::Duration};

use andromede_testkit::wait;
use anyhow::Result;
use serde_json::Value;

use super::{
    checks::{Check, Expected},
    expect::{Protocol, TCP_PORT, UDP_PORT},
    fabric::{Demo, Port},
};

/// How long reports may take to be read from the kernel.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a packet was dropped.
#[derive(Clone, Debug)]
pub(super) struct Drop {
    /// Name of the reason.
    pub(super) reason: String,
    /// The rule that decided; empty if none did.
    pub(super) rule: String,
    /// Host on which it was dropped.
    pub(super) host: String,
}

/// Finds the reported drop of every refused check.
pub(super) fn explain(demo: &Demo, checks: &mut [Check]) -> Result<()> {
    let mut last = None;
    let found = wait::until("every refusal is reported", PATIENCE, || {
        let drops = demo.control().json(&["drops"]).map_err(|error| last = Some(error)).ok()?;
        let recent: Vec<&Value> = drops.get("recent").and_then(Value::as_array).into_iter().flatten().collect();
        for check in checks.iter_mut().filter(|check| check.expected == Expected::Refusal) {
            check.drop = recent.iter().find(|drop| concerns(drop, check, demo.ports())).map(|drop| Drop {
                reason: text(drop, "reason"),
                rule: text(drop, "rule"),
                host: text(drop, "host").trim_start_matches("hosts/").to_owned(),
            });
        }
        let explained = |check: &Check| check.expected != Expected::Refusal || check.drop.is_some();
        checks.iter().all(explained).then_some(())
    });
    // What stays unexplained shows in the table, as a check that failed.
    match (found, last) {
        (Err(_), Some(error)) => Err(error),
        _ => Ok(()),
    }
}

/// Is this reported drop the packet of this check?
fn concerns(drop: &Value, check: &Check, ports: &[Port]) -> bool {
    let (Some(from), Some(to)) = (ports.get(check.from), ports.get(check.to)) else { return false };
    let network = from.name().split("/ports/").next().unwrap_or_default();
    let (source, destination): (IpAddr, IpAddr) =
        if check.protocol.is_v6() { (from.v6.into(), to.v6.into()) } else { (from.v4.into(), to.v4.into()) };
    let port = match check.protocol {
        Protocol::Tcp => Some(u64::from(TCP_PORT)),
        Protocol::Udp => Some(u64::from(UDP_PORT)),
        Protocol::Icmp | Protocol::IcmpV6 => None,
    };
    text(drop, "network") == network
        && text(drop, "source") == source.to_string()
        && text(drop, "destination") == destination.to_string()
        && drop.get("protocol").and_then(Value::as_u64) == Some(check.protocol.number())
        && port.is_none_or(|port| drop.get("destinationPort").and_then(Value::as_u64) == Some(port))
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
