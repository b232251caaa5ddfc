//! Hosts.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{HostName, Labels, ZoneName};

/// What a host may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostState {
    /// Nothing was said. In a write: it stays what it is; otherwise it means the same as [`HostState::Active`].
    #[default]
    Unset,
    /// Whatever is placed on it.
    Active,
    /// What it has stays; nothing new is placed on it.
    Draining,
    /// It belongs to no network any more, whatever is placed on it, and its certificate opens nothing. For good: it can only be deleted.
    Fenced,
}

/// A machine that runs an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name; the agent's certificate carries the same.
    pub name: HostName,
    /// Address of its tunnel endpoint, unique among hosts and foreign endpoints.
    pub underlay: Ipv4Addr,
    /// The zone where it stands. Networks that may be only in some zones are not on a host that is in none.
    #[serde(default)]
    pub zone: Option<ZoneName>,
    /// Number of the zone in every table; given by the model, 0 without a zone.
    #[serde(default)]
    pub zone_index: u32,
    /// What it may be used for.
    pub state: HostState,
    /// Its number in every table; given by the model, 0 before that. Hosts and foreign endpoints share one number space.
    pub index: u32,
    /// Revision of its last write; set by the model.
    pub revision: u64,
    /// Its labels.
    pub labels: Labels,
}

impl Host {
    /// Does it belong to no network any more, whatever is placed on it?
    pub const fn is_fenced(&self) -> bool {
        matches!(self.state, HostState::Fenced)
    }

    /// May something new be placed on it?
    pub const fn takes_new(&self) -> bool {
        matches!(self.state, HostState::Unset | HostState::Active)
    }

    /// The same as it follows what it was: states that were left out stay.
    #[must_use]
    pub(crate) fn after(self, before: Option<&Self>) -> Self {
        let state = match (self.state, before.map(|before| before.state)) {
            (HostState::Unset, None | Some(HostState::Unset)) => HostState::Active,
            (HostState::Unset, Some(before)) => before,
            (state, _) => state,
        };
        Self { state, ..self }
    }
}
