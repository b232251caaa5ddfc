//! Random places.

use andromede_model::Admitted;
use proptest::{prelude::*, sample::select};

/// Where the network may be, and where its hosts and its foreign endpoint are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// Where it may be.
    pub(crate) admitted: Admitted,
    /// Zones of the hosts, and of the endpoint.
    pub(crate) zones: [u32; 4],
}

/// Mostly anywhere, so that other changes are tried.
pub(crate) fn admitted() -> impl Strategy<Value = Admitted> {
    let zones = prop::collection::btree_set(select(vec![1u32, 2, 70]), 0..4);
    prop_oneof![Just(Admitted::Anywhere), zones.prop_map(Admitted::Zones)]
}

pub(crate) fn places() -> impl Strategy<Value = Places> {
    let zones = prop::array::uniform4(select(vec![0u32, 1, 2, 70]));
    (admitted(), zones).prop_map(|(admitted, zones)| Places { admitted, zones })
}

impl Places {
    /// The place of the foreign endpoint; smaller numbers are those of hosts.
    pub(crate) const ENDPOINT: usize = 3;

    /// May the network be at this place?
    pub(crate) fn admit(&self, place: usize) -> bool {
        match &self.admitted {
            Admitted::Anywhere => true,
            Admitted::Zones(zones) => zones.contains(&self.zones[place]),
        }
    }
}
