//! Real traffic between every ordered pair of workloads.

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::Duration,
};

use andromede_testkit::{
    interrupt,
    traffic::{Outcome, Ping, Responder, echo_requests, ping, tcp_probe, udp_probe},
};
use anyhow::{Context as _, Result};

use super::{
    drops::{self, Drop},
    expect::{self, Protocol, TCP_PORT, UDP_PORT},
    fabric::{Demo, Port},
};

/// How long to wait for an answer that may never come.
const PATIENCE: Duration = Duration::from_millis(500);

/// A check and what came of it.
#[derive(Debug)]
pub(super) struct Check {
    /// Index of the sender in the demo's ports.
    pub(super) from: usize,
    /// Index of the port whose address was tried.
    pub(super) to: usize,
    /// What was sent.
    pub(super) protocol: Protocol,
    /// Should it pass? Of other tenants nothing is expected but that they are not reached.
    pub(super) expected: Expected,
    /// What was seen.
    pub(super) outcome: Outcome,
    /// Why it was refused, if it was.
    pub(super) drop: Option<Drop>,
    /// Was it as expected, and every refusal explained?
    pub(super) passed: bool,
}

/// What should be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// The port itself answers.
    Answer,
    /// Nothing comes back, and the drop has a name.
    Refusal,
    /// The port of the other tenant does not answer; one of one's own that has the same address may.
    NotTheirs,
}

/// Runs all checks.
pub(super) fn run(demo: &Demo) -> Result<Vec<Check>> {
    let ports = demo.ports();
    let start = |port: &Port| Responder::start(port.namespace(), &port.title(), &[TCP_PORT], &[UDP_PORT]);
    let _responders = ports.iter().map(start).collect::<Result<Vec<_>>>()?;
    let mut checks = within_tenants(ports)?;
    drops::explain(demo, &mut checks)?;
    for check in &mut checks {
        check.passed = match check.expected {
            Expected::Answer => answered(check, ports),
            Expected::Refusal => check.outcome == Outcome::Silence && check.drop.is_some(),
            Expected::NotTheirs => false,
        };
    }
    checks.extend(between_tenants(ports)?);
    Ok(checks)
}

/// Did the port that was meant answer? A ping's answer carries no name, but the address is one port's in its tenant.
fn answered(check: &Check, ports: &[Port]) -> bool {
    let Outcome::Answered { by, .. } = &check.outcome else { return false };
    by.is_empty() || ports.get(check.to).is_some_and(|port| port.title() == *by)
}

/// Every ordered pair of each tenant; all senders at once.
fn within_tenants(ports: &[Port]) -> Result<Vec<Check>> {
    let pairs = |from: usize, a: &Port| -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        for (to, b) in ports.iter().enumerate().filter(|(to, b)| *to != from && b.tenant == a.tenant) {
            for protocol in Protocol::ALL {
                interrupt::check()?;
                let expected = if expect::allowed(a, b, protocol) { Expected::Answer } else { Expected::Refusal };
                let outcome = probe(a, b, protocol, expected)?;
                checks.push(Check { from, to, protocol, expected, outcome, drop: None, passed: false });
            }
        }
        Ok(checks)
    };
    let done: Result<Vec<Vec<Check>>> = thread::scope(|scope| {
        let pairs = &pairs;
        let started: Vec<_> = ports.iter().enumerate().map(|(from, a)| scope.spawn(move || pairs(from, a))).collect();
        started
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    Ok(done?.into_iter().flatten().collect())
}

/// Tries one protocol; what is expected to pass is tried three times, and the best time told.
fn probe(from: &Port, to: &Port, protocol: Protocol, expected: Expected) -> Result<Outcome> {
    let times = if expected == Expected::Answer { 3 } else { 1 };
    let mut best = probe_once(from, to, protocol)?;
    for _ in 1..times {
        let next = probe_once(from, to, protocol)?;
        best = match (best, next) {
            (Outcome::Answered { by: a, after: x }, Outcome::Answered { by: b, after: y }) if a == b => {
                Outcome::Answered { by: a, after: x.min(y) }
            }
            // One failure is a failure.
            (best, next) => {
                if best.is_answered() {
                    next
                } else {
                    best
                }
            }
        };
    }
    Ok(best)
}

fn probe_once(from: &Port, to: &Port, protocol: Protocol) -> Result<Outcome> {
    let address: IpAddr = if protocol.is_v6() { to.v6.into() } else { to.v4.into() };
    let outcome = match protocol {
        Protocol::Icmp | Protocol::IcmpV6 => {
            let options = Ping { patience: PATIENCE, ..Ping::default() };
            Ok(ping(from.namespace(), address, options)?.outcome())
        }
        Protocol::Tcp => tcp_probe(from.namespace(), SocketAddr::new(address, TCP_PORT), PATIENCE),
        Protocol::Udp => udp_probe(from.namespace(), SocketAddr::new(address, UDP_PORT), PATIENCE),
    };
    outcome.with_context(|| format!("{} from {} to {}", protocol.title(), from.title(), to.title()))
}

/// Every ordered pair of ports of different tenants. Nothing must reach the other tenant: no answer carries its name,
/// and none of its ports counts an echo request while the first tenant pings.
fn between_tenants(ports: &[Port]) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (from, a) in ports.iter().enumerate() {
        for (to, b) in ports.iter().enumerate().filter(|(_, b)| b.tenant != a.tenant) {
            for protocol in Protocol::ALL {
                interrupt::check()?;
                let before = echo_requests(b.namespace())?;
                let outcome = probe_once(a, b, protocol)?;
                let theirs = matches!(&outcome, Outcome::Answered { by, .. } if *by == b.title());
                let passed = !theirs && echo_requests(b.namespace())? == before;
                let expected = Expected::NotTheirs;
                checks.push(Check { from, to, protocol, expected, outcome, drop: None, passed });
            }
        }
    }
    Ok(checks)
}
