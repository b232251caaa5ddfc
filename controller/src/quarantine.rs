//! Addresses that became free a moment ago: caches of others still know whose they were, so they rest before they are given
//! to a port of another name. The log of commits remembers them, so that a restart changes nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use andromede_model::{AnyName, Commit, Model, NetworkName, PortName, Prefix, Resource, Rest, Resting};

use crate::{
    record::ReleasedRecord,
    requests::recent,
    store::{Store, StoreError},
};

/// How long an address rests.
pub const REST: Duration = Duration::from_mins(10);

/// Addresses that rest, and whose they were. The writer changes it; everybody may look.
#[derive(Debug, Default)]
pub struct Quarantine(Mutex<Addresses>);

#[derive(Debug, Default)]
struct Addresses {
    resting: BTreeMap<(NetworkName, IpAddr), (PortName, i64)>,
    /// What each port had, the last ones last; others may have had it since.
    owned: BTreeMap<PortName, Vec<IpAddr>>,
    /// The oldest first; times in nanoseconds since 1970.
    order: VecDeque<(i64, PortName, IpAddr)>,
}

impl Quarantine {
    /// Those that the log knows, at the time `now` (nanoseconds since 1970).
    pub(crate) fn load(store: &Store, now: i64) -> Result<Self, StoreError> {
        let quarantine = Self::default();
        let mut found = Vec::new();
        recent(store, now.saturating_sub(rest()), &mut |_, head| {
            found.push((head.time_unix_nanos, head.released));
        })?;
        for (time, released) in found.into_iter().rev() {
            quarantine.release(time, &released);
        }
        Ok(quarantine)
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        // Nothing panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets addresses rest from a time on.
    pub(crate) fn release(&self, time: i64, released: &[ReleasedRecord]) {
        let mut addresses = self.addresses();
        for record in released {
            let Ok(port) = record.port.parse::<PortName>() else { continue };
            for address in record.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok()) {
                addresses.release(time, &port, address);
            }
        }
    }

    /// Forgets those that have rested long enough.
    pub(crate) fn tidy(&self, now: i64) {
        self.addresses().tidy(now.saturating_sub(rest()));
    }

    /// What rests at the time `now` (nanoseconds since 1970).
    pub fn at(&self, now: i64) -> impl Resting + '_ {
        At { quarantine: self, now }
    }
}

impl Addresses {
    fn release(&mut self, time: i64, port: &PortName, address: IpAddr) {
        self.resting.insert((port.network(), address), (port.clone(), time));
        let owned = self.owned.entry(port.clone()).or_default();
        owned.retain(|other| *other != address);
        owned.push(address);
        self.order.push_back((time, port.clone(), address));
    }

    fn tidy(&mut self, oldest: i64) {
        while let Some((time, ..)) = self.order.front()
            && *time < oldest
        {
            let Some((time, port, address)) = self.order.pop_front() else { return };
            let key = (port.network(), address);
            // It may have become free once more since: of the same port, or of another.
            let (same, newer) = match self.resting.get(&key) {
                Some((owner, since)) => (*owner == port, *since != time),
                None => (false, false),
            };
            if !newer {
                self.resting.remove(&key);
            }
            if !(same && newer)
                && let Some(owned) = self.owned.get_mut(&port)
            {
                owned.retain(|other| *other != address);
                if owned.is_empty() {
                    self.owned.remove(&port);
                }
            }
        }
    }
}

/// What rests at a time.
struct At<'a> {
    quarantine: &'a Quarantine,
    /// Nanoseconds since 1970.
    now: i64,
}

impl At<'_> {
    /// How long it has yet to rest, in nanoseconds; none: it has rested long enough.
    fn left(&self, since: i64) -> Option<u64> {
        let left = since.saturating_add(rest()).saturating_sub(self.now);
        u64::try_from(left).ok().filter(|left| *left > 0)
    }
}

impl Resting for At<'_> {
    fn holds_back(&self, port: &PortName, address: IpAddr) -> bool {
        let addresses = self.quarantine.addresses();
        let found = addresses.resting.get(&(port.network(), address));
        found.is_some_and(|(owner, since)| owner != port && self.left(*since).is_some())
    }

    fn last_of(&self, port: &PortName) -> Vec<IpAddr> {
        let addresses = self.quarantine.addresses();
        addresses.owned.get(port).into_iter().flatten().rev().copied().collect()
    }

    fn within(&self, network: &NetworkName, part: Prefix, passed: &dyn Fn(IpAddr) -> bool) -> Rest {
        let addresses = self.quarantine.addresses();
        let all = (network.clone(), part.address())..=(network.clone(), part.last());
        let resting = addresses.resting.range(all).filter(|((_, address), _)| !passed(*address));
        let mut found = Rest::default();
        let mut next = u64::MAX;
        for left in resting.filter_map(|(_, (_, since))| self.left(*since)) {
            found.addresses = found.addresses.saturating_add(1);
            next = next.min(left);
        }
        if found.addresses > 0 {
            found.next_seconds = next.div_ceil(1_000_000_000);
        }
        found
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

    fn name(id: &str) -> PortName {
        format!("tenants/t/networks/n/ports/{id}").parse().unwrap()
    }

    fn released(id: &str, addresses: &[&str]) -> Vec<ReleasedRecord> {
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        vec![ReleasedRecord { port: name(id).to_string(), addresses }]
    }

    #[test]
    fn an_address_rests_for_all_but_its_last_owner() {
        let address = "10.0.0.7".parse().unwrap();
        let quarantine = Quarantine::default();
        quarantine.release(5, &released("a", &["10.0.0.7"]));
        let holds_back = |id: &str, now: i64| quarantine.at(now).holds_back(&name(id), address);
        assert!(holds_back("b", 6) && !holds_back("a", 6));
        quarantine.release(9, &released("a", &["10.0.0.7"]));
        quarantine.tidy(6 + rest());
        assert!(holds_back("b", 6 + rest()), "it became free once more");
        assert_eq!(quarantine.at(6 + rest()).last_of(&name("a")), [address]);
        assert!(!holds_back("b", 9 + rest()), "its time is over before somebody tidies");
        quarantine.tidy(10 + rest());
        assert!(!holds_back("b", 6) && quarantine.addresses().resting.is_empty());
        assert!(quarantine.addresses().owned.is_empty());
    }

    #[test]
    fn a_port_s_own_addresses_are_known_until_they_have_rested_the_last_ones_first() {
        let quarantine = Quarantine::default();
        quarantine.release(5, &released("a", &["10.0.0.7"]));
        quarantine.release(7, &released("b", &["10.0.0.7"]));
        quarantine.release(8, &released("a", &["10.0.0.9"]));
        let last = |id: &str| quarantine.at(9).last_of(&name(id)).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!((last("a"), last("b")), (vec!["10.0.0.9".into(), "10.0.0.7".into()], vec!["10.0.0.7".to_owned()]));
        quarantine.tidy(6 + rest());
        assert_eq!((last("a"), last("b")), (vec!["10.0.0.9".to_owned()], vec!["10.0.0.7".to_owned()]));
        quarantine.tidy(9 + rest());
        assert_eq!(quarantine.addresses().owned.len(), 0);
    }

    #[test]
    fn what_rests_in_a_subnet_is_counted_with_the_time_of_the_first() {
        let quarantine = Quarantine::default();
        let second = 1_000_000_000;
        quarantine.release(second, &released("a", &["10.0.0.7", "10.0.1.7", "fd00::7"]));
        quarantine.release(3 * second, &released("b", &["10.0.0.9", "10.0.0.10"]));
        let network = name("a").network();
        let within = |part: &str, now: i64| {
            let used: IpAddr = "10.0.0.10".parse().unwrap();
            quarantine.at(now).within(&network, part.parse().unwrap(), &|address| address == used)
        };
        let seconds = REST.as_secs();
        assert_eq!(within("10.0.0.0/24", 4 * second), Rest { addresses: 2, next_seconds: seconds - 3 });
        assert_eq!(within("10.0.0.0/24", 2 * second + rest()), Rest { addresses: 1, next_seconds: 1 });
        assert_eq!(within("fd00::/64", 4 * second), Rest { addresses: 1, next_seconds: seconds - 3 });
        assert_eq!(within("10.0.2.0/24", 4 * second), Rest::default());
    }
}
