//! Where a tenant, or a network of it, may be.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{Jurisdiction, Tenant, Zone, ZoneName, ZoneOperator, network::Network};

/// Where something may be. Each list that is not empty must name what a zone has; with three empty lists it may be anywhere, in no zone
/// too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residency {
    /// Laws by which the zone may lie; empty: any.
    pub jurisdictions: BTreeSet<Jurisdiction>,
    /// Who may run its hosts; empty: anybody.
    pub operators: BTreeSet<ZoneOperator>,
    /// Which zones it may be; empty: any.
    pub zones: BTreeSet<ZoneName>,
}

impl Residency {
    /// May it be only in some zones?
    pub fn is_bound(&self) -> bool {
        !(self.jurisdictions.is_empty() && self.operators.is_empty() && self.zones.is_empty())
    }

    /// May it be in this zone?
    pub fn admits(&self, zone: &Zone) -> bool {
        (self.jurisdictions.is_empty() || self.jurisdictions.contains(&zone.jurisdiction))
            && (self.operators.is_empty() || self.operators.contains(&zone.operator))
            && (self.zones.is_empty() || self.zones.contains(&zone.name))
    }
}

/// The zones in which a network may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admitted {
    /// It is not bound: on hosts that are in no zone too.
    #[default]
    Anywhere,
    /// Those with these numbers.
    Zones(BTreeSet<u32>),
}

/// The law of a network: what its tenant says and what it says itself, both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Law<'a> {
    pub(crate) tenant: Option<&'a Residency>,
    pub(crate) network: &'a Residency,
}

impl<'a> Law<'a> {
    pub(crate) fn new(tenant: Option<&'a Tenant>, network: &'a Network) -> Self {
        Self { tenant: tenant.map(|tenant| &tenant.residency), network: &network.residency }
    }

    fn both(&self) -> impl Iterator<Item = &'a Residency> {
        self.tenant.into_iter().chain([self.network])
    }

    /// May the network be only in some zones?
    pub(crate) fn is_bound(&self) -> bool {
        self.both().any(Residency::is_bound)
    }

    /// May the network be in this zone, or, if it is none, outside of all zones?
    pub(crate) fn admits(&self, zone: Option<&Zone>) -> bool {
        match zone {
            Some(zone) => self.both().all(|residency| residency.admits(zone)),
            None => !self.is_bound(),
        }
    }
}

impl fmt::Display for Law<'_> {
    /// Where it may be, for people: `jurisdiction DE or FR, zone zones/par1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: ToString>(word: &str, items: &BTreeSet<T>) -> Option<String> {
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            (!items.is_empty()).then(|| format!("{word} {}", items.join(" or ")))
        }
        let of = |it: &Residency| {
            [list("jurisdiction", &it.jurisdictions), list("operator", &it.operators), list("zone", &it.zones)]
        };
        let mut parts: Vec<String> = self.both().flat_map(of).flatten().collect();
        parts.dedup();
        f.write_str(&parts.join(", "))
    }
}
