//! What the controller counts, in the text format of Prometheus (version 0.0.4).
//!
//! No metric has the name of a tenant, a network or a host in it: whoever collects them need not be trusted with those, and their number
//! does not grow with the fabric.

use std::{fmt::Write as _, sync::Arc};

use andromede_model::{HostState, Model, Resource, ResourceKind};

use crate::{
    access::Bearers,
    clock::now_nanos,
    denials::Denials,
    publish::Publisher,
    registry::Registry,
    usage::{Places, Totals, Used, place_name},
    utilization::{AHEAD, Level, Round, Utilizations},
};

/// A metric: its name, its kind, and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// "gauge" or "counter".
    pub kind: &'static str,
    /// A sentence.
    pub help: &'static str,
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: "gauge", help }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: "counter", help }
}

const BUILD: Metric = gauge("andromede_controller_build_info", "Always 1; the label `version` is that of the program.");
const REVISION: Metric =
    gauge("andromede_controller_revision", "Revision of the last commit that is on disk and published.");
const RESOURCES: Metric = gauge("andromede_controller_resources", "Resources there are, by `kind`.");
const HOSTS: Metric = gauge(
    "andromede_controller_hosts",
    "Hosts by `state`: in-force, pending, failing (connected, and could not apply what it was told), out-of-touch, fenced.",
);
const DRAINING: Metric = gauge("andromede_controller_hosts_draining", "Hosts on which nothing new is placed.");
const BEHIND: Metric = gauge(
    "andromede_controller_hosts_behind_most",
    "How many revisions the connected host that is furthest behind has yet to apply, those that do not concern it not counted.",
);
const DENIED: Metric =
    counter("andromede_controller_denied_calls_total", "Calls that were denied since the controller started.");

const TOKEN_KEYS: Metric = gauge(
    "andromede_controller_token_keys_broken",
    "1 while the file of keys by which tokens are verified cannot be used, so that no token is taken; otherwise 0.",
);
const USAGE_PACKETS: Metric = counter(
    "andromede_controller_usage_packets_total",
    "Packets that hosts told to have carried since the controller started, by `place` (docs/metering.md).",
);
const USAGE_BYTES: Metric = counter("andromede_controller_usage_bytes_total", "The bytes of these packets.");
const USAGE_FLOWS: Metric = counter("andromede_controller_usage_flows_total", "Connections that were opened by them.");
const USAGE_MISSING: Metric = gauge(
    "andromede_controller_usage_hosts_missing",
    "Hosts that did not tell what they counted when they were last asked; it is not lost.",
);

const SUBNETS: Metric = gauge(
    "andromede_controller_subnets",
    "Subnets by `level`: roomy, filling (80 % or more of what ports that choose no address are given is taken), nearly-full (95 %), full.",
);
const FIRST_FULL: Metric = gauge(
    "andromede_controller_subnets_first_full_seconds",
    "Seconds until the first subnet is full if all fill on as in the last hour; 2592000, 30 days, if none will be within that time.",
);
const RESTING: Metric = gauge(
    "andromede_controller_addresses_resting",
    "Addresses that became free less than ten minutes ago, and are given to no other port yet.",
);

/// All metrics, in the order in which they are told.
pub const METRICS: [Metric; 15] = [
    BUILD,
    REVISION,
    RESOURCES,
    HOSTS,
    DRAINING,
    BEHIND,
    DENIED,
    TOKEN_KEYS,
    USAGE_PACKETS,
    USAGE_BYTES,
    USAGE_FLOWS,
    USAGE_MISSING,
    SUBNETS,
    FIRST_FULL,
    RESTING,
];

/// Where the numbers come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The published state.
    pub publisher: Arc<Publisher>,
    /// Which hosts are there.
    pub registry: Arc<Registry>,
    /// What was denied.
    pub denials: Arc<Denials>,
    /// Whose tokens are taken, if any are.
    pub bearers: Option<Arc<Bearers>>,
    /// What was used.
    pub usage: Arc<Totals>,
    /// How full subnets are.
    pub utilizations: Arc<Utilizations>,
}

/// States of hosts, in the order in which they are told.
const STATES: [&str; 5] = ["in-force", "pending", "failing", "out-of-touch", "fenced"];

#[derive(Default)]
struct Hosts {
    states: [u64; STATES.len()],
    draining: u64,
    behind_most: u64,
}

impl Sources {
    fn hosts(&self, model: &Model) -> Hosts {
        let mut hosts = Hosts::default();
        for resource in model.all(ResourceKind::Host) {
            let Resource::Host(host) = resource else { continue };
            let (wanted, _) = self.publisher.wanted(&host.name);
            let heard = self.registry.state(host.name.as_str());
            let place = match (host.is_fenced(), heard.connected, heard.error.is_empty()) {
                (true, ..) => 4,
                (false, false, _) => 3,
                (false, true, false) => 2,
                (false, true, true) => usize::from(heard.applied_revision < wanted),
            };
            if let Some(count) = hosts.states.get_mut(place) {
                *count = count.saturating_add(1);
            }
            hosts.draining = hosts.draining.saturating_add(u64::from(host.state == HostState::Draining));
            if heard.connected && !host.is_fenced() {
                hosts.behind_most = hosts.behind_most.max(wanted.saturating_sub(heard.applied_revision));
            }
        }
        hosts
    }

    /// All metrics as they are now.
    pub fn text(&self) -> String {
        let model = self.publisher.model();
        let hosts = self.hosts(&model);
        let round = self.utilizations.all();
        let mut text = String::new();
        for metric in METRICS {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {}", metric.name, metric.help, metric.name, metric.kind);
            for (labels, value) in self.values(metric.name, &model, &hosts, &round) {
                let _ = writeln!(text, "{}{labels} {value}", metric.name);
            }
        }
        text
    }

    /// The values of one metric, with their labels.
    fn values(&self, name: &str, model: &Model, hosts: &Hosts, round: &Round) -> Vec<(String, u64)> {
        let one = |value: u64| vec![(String::new(), value)];
        match name {
            name if name == BUILD.name => vec![(format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1)],
            name if name == REVISION.name => one(model.revision()),
            name if name == RESOURCES.name => {
                let count = |kind: ResourceKind| (format!("{{kind=\"{}\"}}", kind.name()), model.count(kind) as u64);
                ResourceKind::ALL.into_iter().map(count).collect()
            }
            name if name == HOSTS.name => {
                let state = |(state, count): (&str, u64)| (format!("{{state=\"{state}\"}}"), count);
                STATES.into_iter().zip(hosts.states).map(state).collect()
            }
            name if name == DRAINING.name => one(hosts.draining),
            name if name == BEHIND.name => one(hosts.behind_most),
            name if name == DENIED.name => one(self.denials.total()),
            name if name == TOKEN_KEYS.name => {
                one(self.bearers.as_ref().is_some_and(|bearers| !bearers.is_usable()).into())
            }
            name if name == USAGE_PACKETS.name => by_place(&self.usage.all(), |used| used.packets),
            name if name == USAGE_BYTES.name => by_place(&self.usage.all(), |used| used.bytes),
            name if name == USAGE_FLOWS.name => by_place(&self.usage.all(), |used| used.flows),
            name if name == USAGE_MISSING.name => one(self.usage.missing()),
            name if [SUBNETS, FIRST_FULL, RESTING].iter().any(|metric| metric.name == name) => subnets(name, round),
            _ => Vec::new(),
        }
    }
}

/// What is told of subnets.
fn subnets(name: &str, round: &Round) -> Vec<(String, u64)> {
    let level = |(level, count): (Level, u64)| (format!("{{level=\"{}\"}}", level.name()), count);
    let until = |at: i64| u64::try_from(at.saturating_sub(now_nanos() / 1_000_000_000)).unwrap_or_default();
    match name {
        name if name == SUBNETS.name => Level::ALL.into_iter().zip(round.levels).map(level).collect(),
        name if name == FIRST_FULL.name => {
            vec![(String::new(), round.first_full_seconds.map_or(AHEAD.unsigned_abs(), until))]
        }
        _ => vec![(String::new(), round.resting)],
    }
}

/// A word of each place.
fn by_place(places: &Places, word: impl Fn(&Used) -> u64) -> Vec<(String, u64)> {
    let of = |(place, used)| (format!("{{place=\"{}\"}}", place_name(place)), word(used));
    places.iter().enumerate().skip(1).map(of).collect()
}
