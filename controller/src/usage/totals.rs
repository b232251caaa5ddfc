//! What was used since the controller started, for metrics.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::PLACES;

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

    /// By network.
    pub fn networks(&self) -> BTreeMap<String, Places> {
        self.state().networks.clone()
    }

    /// Hosts that could not be asked the last time.
    pub fn missing(&self) -> u64 {
        self.state().missing
    }
}
