//! Addresses that became free a moment ago: caches of others still know whose they were, so they rest before they are given
//! to a port of another name. The log of commits remembers them, so that a restart changes nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

use andromede_model::{AnyName, Commit, Model, NetworkName, PortName, Resource};

use crate::{
    record::ReleasedRecord,
    requests::recent,
    store::{Store, StoreError},
};

/// How long an address rests.
pub const REST: Duration = Duration::from_mins(10);

/// Addresses that rest, and whose they were.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    resting: BTreeMap<(NetworkName, IpAddr), (PortName, i64)>,
    /// The oldest first; times in nanoseconds since 1970.
    order: VecDeque<(i64, (NetworkName, IpAddr))>,
}

impl Quarantine {
    /// Those that the log knows, at the time `now` (nanoseconds since 1970).
    pub(crate) fn load(store: &Store, now: i64) -> Result<Self, StoreError> {
        let mut quarantine = Self::default();
        let mut found = Vec::new();
        recent(store, now.saturating_sub(rest()), &mut |_, head| {
            found.push((head.time_unix_nanos, head.released));
        })?;
        for (time, released) in found.into_iter().rev() {
            quarantine.release(time, &released);
        }
        Ok(quarantine)
    }

    /// Lets addresses rest from a time on.
    pub(crate) fn release(&mut self, time: i64, released: &[ReleasedRecord]) {
        for record in released {
            let Ok(port) = record.port.parse::<PortName>() else { continue };
            for address in record.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok()) {
                let key = (port.network(), address);
                self.resting.insert(key.clone(), (port.clone(), time));
                self.order.push_back((time, key));
            }
        }
    }

    /// Forgets those that have rested long enough.
    pub(crate) fn tidy(&mut self, now: i64) {
        let oldest = now.saturating_sub(rest());
        while let Some((time, key)) = self.order.front()
            && *time < oldest
        {
            // It may have become free once more since.
            if self.resting.get(key).is_some_and(|(_, since)| since == time) {
                self.resting.remove(key);
            }
            self.order.pop_front();
        }
    }

    /// Must the port wait for the address? Not if it was its own.
    pub(crate) fn holds_back(&self, port: &PortName, address: IpAddr) -> bool {
        self.resting.get(&(port.network(), address)).is_some_and(|(owner, _)| owner != port)
    }
}

fn rest() -> i64 {
    i64::try_from(REST.as_nanos()).unwrap_or(i64::MAX)
}

/// The addresses that a commit takes from ports. `before` is the model to which it will be added.
pub(crate) fn released(before: &Model, commit: &Commit) -> Vec<ReleasedRecord> {
    let written = commit.written.iter().filter_map(|resource| match resource {
        Resource::Port(port) => Some((&port.name, port.addresses.as_slice())),
        _ => None,
    });
    let deleted = commit.deleted.iter().filter_map(|name| match name {
        AnyName::Port(name) => Some((name, &[][..])),
        _ => None,
    });
    let gone = |(name, kept): (&PortName, &[IpAddr])| {
        let had = before.port(name).map(|port| port.addresses.as_slice()).unwrap_or_default();
        let addresses: Vec<_> = had.iter().filter(|it| !kept.contains(it)).map(ToString::to_string).collect();
        (!addresses.is_empty()).then(|| ReleasedRecord { port: name.to_string(), addresses })
    };
    written.chain(deleted).filter_map(gone).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_address_rests_for_all_but_its_last_owner() {
        let name = |id: &str| format!("tenants/t/networks/n/ports/{id}").parse::<PortName>().unwrap();
        let address = "10.0.0.7".parse().unwrap();
        let record = ReleasedRecord { port: name("a").to_string(), addresses: vec!["10.0.0.7".to_owned()] };
        let mut quarantine = Quarantine::default();
        quarantine.release(5, std::slice::from_ref(&record));
        assert!(quarantine.holds_back(&name("b"), address) && !quarantine.holds_back(&name("a"), address));
        quarantine.release(9, &[record]);
        quarantine.tidy(6 + rest());
        assert!(quarantine.holds_back(&name("b"), address), "it became free once more");
        quarantine.tidy(10 + rest());
        assert!(!quarantine.holds_back(&name("b"), address));
    }
}
