//! What was used since the controller started, for metrics.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{PLACES, place_name};

/// What was counted of one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Connections.
    pub flows: u64,
}

impl Used {
    /// The greater of both, word by word.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            packets: self.packets.max(other.packets),
            bytes: self.bytes.max(other.bytes),
            flows: self.flows.max(other.flows),
        }
    }

    /// What is more than `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
            flows: self.flows.saturating_sub(before.flows),
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self {
            packets: self.packets.saturating_add(more.packets),
            bytes: self.bytes.saturating_add(more.bytes),
            flows: self.flows.saturating_add(more.flows),
        }
    }
}

/// A metric: its name, what it says, and the word that it tells.
type Metric = (&'static str, &'static str, fn(&Used) -> u64);

/// The metrics that have the names of networks.
const METRICS: [Metric; 3] = [
    (
        "andromede_usage_packets_total",
        "Packets that hosts told to have carried since the controller started.",
        |used| used.packets,
    ),
    ("andromede_usage_bytes_total", "The bytes of these packets.", |used| used.bytes),
    ("andromede_usage_flows_total", "Connections that were opened by them.", |used| used.flows),
];

/// By place.
pub type Places = [Used; PLACES];

/// What was used since the controller started. A controller that starts anew begins at 0, as Prometheus expects of counters.
#[derive(Debug, Default)]
pub struct Totals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    all: Places,
    networks: BTreeMap<String, Places>,
    missing: u64,
}

impl Totals {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is an addition: a panic elsewhere leaves less counted, and nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// More was used in a network.
    pub(super) fn add(&self, network: &str, more: &Places) {
        let mut state = self.state();
        let state = &mut *state;
        for places in [&mut state.all, state.networks.entry(network.to_owned()).or_default()] {
            for (sum, more) in places.iter_mut().zip(more) {
                *sum = sum.plus(*more);
            }
        }
    }

    /// So many hosts could not be asked; networks that are not there any more are forgotten.
    pub(super) fn asked(&self, missing: u64, is_there: impl Fn(&str) -> bool) {
        let mut state = self.state();
        state.missing = missing;
        state.networks.retain(|network, _| is_there(network));
    }

    /// Of all networks.
    pub fn all(&self) -> Places {
        self.state().all
    }

    /// By network, in the text format of Prometheus (version 0.0.4).
    pub fn text(&self) -> String {
        let networks = self.state().networks.clone();
        let mut text = String::new();
        for (name, help, word) in METRICS {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
            for (network, places) in &networks {
                let tenant = network.split('/').nth(1).unwrap_or_default();
                for (place, used) in places.iter().enumerate().filter(|(_, used)| **used != Used::default()) {
                    let (place, value) = (place_name(place), word(used));
                    let _ =
                        writeln!(text, "{name}{{tenant=\"{tenant}\",network=\"{network}\",place=\"{place}\"}} {value}");
                }
            }
        }
        text
    }

    /// Hosts that could not be asked the last time.
    pub fn missing(&self) -> u64 {
        self.state().missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_told_by_name_and_forgotten_when_they_are_gone() {
        let totals = Totals::default();
        let mut more = Places::default();
        more[3] = Used { packets: 2, bytes: 100, flows: 1 };
        for _ in 0..2 {
            totals.add("tenants/mairie/networks/intranet", &more);
        }
        let line = "andromede_usage_bytes_total{tenant=\"mairie\",network=\"tenants/mairie/networks/intranet\",place=\"other-zone\"} 200";
        assert!(totals.text().lines().any(|found| found == line), "{}", totals.text());
        totals.asked(0, |_| false);
        assert!(!totals.text().contains("mairie"));
        assert_eq!(totals.all()[3].bytes, 200, "what was used stays so");
    }
}
