//! What two sets of rows differ in.

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::{
    Address, CellKey, CellRow, HostIndex, HostRow, IdentityClass, IdentityClassKey, LocationKey, LocationRow,
    MemberKey, MemberRow, NetworkIndex, NetworkRow, PolicyPrefixKey, PortRow, PrefixClasses, PrefixKey, Prefixed,
    ServiceClasses, ServiceKey, Slot, SourceKey, location_flag,
};

use crate::{Row, RowKey, Rows, Step};

/// What two versions of one table differ in.
pub(crate) struct Table<'a, K, V> {
    /// Rows that only the new version has.
    pub(crate) added: Vec<(&'a K, &'a V)>,
    /// Rows that both have, with different values: key, old, new.
    pub(crate) changed: Vec<(&'a K, &'a V, &'a V)>,
    /// Rows that only the old version has.
    pub(crate) removed: Vec<(&'a K, &'a V)>,
}

impl<'a, K: Ord, V: PartialEq> Table<'a, K, V> {
    fn between(old: &'a BTreeMap<K, V>, new: &'a BTreeMap<K, V>) -> Self {
        Self::unless(old, new, |_, _| false)
    }

    /// The same; where two values are `unlike` each other, the old row is removed and the new one added.
    fn unless(old: &'a BTreeMap<K, V>, new: &'a BTreeMap<K, V>, unlike: fn(&V, &V) -> bool) -> Self {
        let mut table = Self::NOTHING;
        let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
        // Both are in order: one walk along the two, whatever their sizes.
        loop {
            match (olds.peek(), news.peek()) {
                (Some((key, _)), Some((other, _))) if key == other => {
                    if let (Some((_, before)), Some((key, value))) = (olds.next(), news.next()) {
                        table.compare(key, before, value, unlike);
                    }
                }
                (Some((key, _)), Some((other, _))) if key > other => table.added.extend(news.next()),
                (Some(_), _) => table.removed.extend(olds.next()),
                (None, Some(_)) => table.added.extend(news.next()),
                (None, None) => return table,
            }
        }
    }

    fn compare(&mut self, key: &'a K, before: &'a V, value: &'a V, unlike: fn(&V, &V) -> bool) {
        if before == value {
            return;
        }
        if unlike(before, value) {
            self.removed.push((key, before));
            self.added.push((key, value));
        } else {
            self.changed.push((key, before, value));
        }
    }
}

impl<K, V> Table<'_, K, V> {
    /// No difference.
    const NOTHING: Self = Self { added: Vec::new(), changed: Vec::new(), removed: Vec::new() };
}

impl<'a> Table<'a, u32, PortRow> {
    /// The ports that change in more than what they may take: limits permit and forbid no flow that is there.
    pub(crate) fn judged_otherwise(&self) -> impl Iterator<Item = &'a PortRow> + '_ {
        let differs =
            |(_, old, new): &&(&u32, &'a PortRow, &'a PortRow)| PortRow { limits: new.limits, ..**old } != **new;
        self.changed.iter().filter(differs).map(|(_, old, _)| *old)
    }
}

/// Steps that write the rows that are new.
pub(crate) fn add<'b, K: Copy, V: Copy>(
    table: &'b Table<'_, K, V>,
    row: fn(K, V) -> Row,
) -> impl Iterator<Item = Step> + 'b {
    table.added.iter().map(move |(key, value)| Step::Insert(row(**key, **value)))
}

/// Steps that write the rows that change.
pub(crate) fn change<'b, K: Copy, V: Copy>(
    table: &'b Table<'_, K, V>,
    row: fn(K, V) -> Row,
) -> impl Iterator<Item = Step> + 'b {
    table.changed.iter().map(move |(key, _, value)| Step::Insert(row(**key, **value)))
}

/// Steps that remove the rows that are gone.
pub(crate) fn remove<'b, K: Copy, V>(
    table: &'b Table<'_, K, V>,
    key_of: fn(K) -> RowKey,
) -> impl Iterator<Item = Step> + 'b {
    table.removed.iter().map(move |(key, _)| Step::Remove(key_of(**key)))
}

/// What two sets of rows differ in, the table of epochs left aside.
pub(crate) struct Difference<'a> {
    pub(crate) ports: Table<'a, u32, PortRow>,
    pub(crate) sources: Table<'a, Prefixed<SourceKey>, u32>,
    pub(crate) locations: Table<'a, LocationKey, LocationRow>,
    pub(crate) prefixes: Table<'a, Prefixed<PrefixKey>, LocationRow>,
    pub(crate) hosts: Table<'a, HostIndex, HostRow>,
    pub(crate) members: Table<'a, MemberKey, MemberRow>,
    pub(crate) networks: Table<'a, NetworkIndex, NetworkRow>,
    pub(crate) policy_identities: Table<'a, IdentityClassKey, IdentityClass>,
    pub(crate) policy_prefixes: Table<'a, Prefixed<PolicyPrefixKey>, PrefixClasses>,
    pub(crate) policy_services: Table<'a, Prefixed<ServiceKey>, ServiceClasses>,
    pub(crate) policy_cells: Table<'a, CellKey, CellRow>,
}

impl<'a> Difference<'a> {
    pub(crate) fn between(old: &'a Rows, new: &'a Rows) -> Self {
        Self {
            policy_identities: Table::between(&old.policy_identities, &new.policy_identities),
            policy_prefixes: Table::between(&old.policy_prefixes, &new.policy_prefixes),
            policy_services: Table::between(&old.policy_services, &new.policy_services),
            policy_cells: Table::between(&old.policy_cells, &new.policy_cells),
            ..Self::but_rules(old, new)
        }
    }

    /// The same without the tables of rules, which say nothing of places and epochs and are the largest.
    pub(crate) fn but_rules(old: &'a Rows, new: &'a Rows) -> Self {
        Self {
            // An interface index that another port has now is not the same port changed.
            ports: Table::unless(&old.ports, &new.ports, |a, b| (a.network, a.slot) != (b.network, b.slot)),
            sources: Table::between(&old.sources, &new.sources),
            locations: Table::between(&old.locations, &new.locations),
            prefixes: Table::between(&old.prefixes, &new.prefixes),
            hosts: Table::between(&old.hosts, &new.hosts),
            members: Table::between(&old.members, &new.members),
            networks: Table::between(&old.networks, &new.networks),
            policy_identities: Table::NOTHING,
            policy_prefixes: Table::NOTHING,
            policy_services: Table::NOTHING,
            policy_cells: Table::NOTHING,
        }
    }

    /// The prefixes found that new locations and new prefixes lie in: the longest for each.
    pub(crate) fn uncovered<'b>(&self, found: &'b Rows) -> Vec<&'b LocationRow> {
        let prefixes = Prefixes::of(found);
        let locations = self.locations.added.iter().map(|(key, _)| (key.network, key.address, u32::MAX));
        let new = locations.chain(self.prefixes.added.iter().map(|(key, _)| place(key)));
        new.filter_map(|(network, address, length)| prefixes.around(network, address, length)).collect()
    }

    /// Slots that lose a row, or whose flows may now have another way although their own rows say the same. Their words
    /// move before the rows: a flow judged from then on by the old rows is stale at once.
    pub(crate) fn stale_early(&self, found: &Rows, wanted: &Rows) -> BTreeSet<Slot> {
        let mut stale = BTreeSet::new();
        stale.extend(self.ports.removed.iter().map(|(_, old)| old.slot));
        stale.extend(self.sources.removed.iter().map(|(key, _)| key.data.slot));
        stale.extend(self.locations.removed.iter().map(|(_, old)| old.slot));
        stale.extend(self.prefixes.removed.iter().map(|(_, old)| old.slot));
        // A row that gets another slot is lost to the old one.
        let slots = |(old, new): (&LocationRow, &LocationRow)| (old.slot != new.slot).then_some(old.slot);
        stale.extend(self.locations.changed.iter().filter_map(|(_, old, new)| slots((old, new))));
        stale.extend(self.prefixes.changed.iter().filter_map(|(_, old, new)| slots((old, new))));
        // What is new within a prefix was behind that prefix before.
        stale.extend(self.uncovered(found).into_iter().map(|row| row.slot));
        // Flows carry the addresses of the host that they go to.
        let moved: BTreeSet<HostIndex> = self.hosts.changed.iter().map(|(key, _, _)| **key).collect();
        if !moved.is_empty() {
            let locations = wanted.locations.values().chain(wanted.prefixes.values());
            stale.extend(locations.filter(|row| moved.contains(&row.host)).map(|row| row.slot));
        }
        stale.remove(&0);
        stale
    }

    /// Slots of what is elsewhere in places where its network might be before and may not be any more. Their words move before the network's
    /// row says so: whoever goes on after an end in between finds nothing in the rows that would tell of them.
    pub(crate) fn expelled(&self, wanted: &Rows) -> BTreeSet<Slot> {
        let moved = |(_, old, new): &&(&NetworkIndex, &NetworkRow, &NetworkRow)| {
            (old.flags, old.zones) != (new.flags, new.zones)
        };
        let moved: BTreeMap<NetworkIndex, (&NetworkRow, &NetworkRow)> =
            self.networks.changed.iter().filter(moved).map(|(index, old, new)| (**index, (*old, *new))).collect();
        if moved.is_empty() {
            return BTreeSet::new();
        }
        let expelled = |(network, row): &(NetworkIndex, &LocationRow)| {
            let zone = wanted.hosts.get(&row.host).map_or(0, |host| host.zone);
            moved.get(network).is_some_and(|(old, new)| old.admits(zone) && !new.admits(zone))
        };
        let locations = wanted.locations.iter().map(|(key, row)| (key.network, row));
        let prefixes = wanted.prefixes.iter().map(|(key, row)| (key.data.network, row));
        let elsewhere =
            locations.chain(prefixes).filter(|(_, row)| row.flags & location_flag::LOCAL == 0 && row.host != 0);
        elsewhere.filter(expelled).map(|(_, row)| row.slot).filter(|slot| *slot != 0).collect()
    }

    /// Slots of ports whose network is metered in another row than before: their connections are judged again, and counted there.
    pub(crate) fn remetered(&self, wanted: &Rows) -> BTreeSet<Slot> {
        let moved = self.networks.changed.iter().filter(|(_, old, new)| old.meter != new.meter);
        let moved: BTreeSet<NetworkIndex> = moved.map(|(index, _, _)| **index).collect();
        wanted.ports.values().filter(|row| moved.contains(&row.network)).map(|row| row.slot).collect()
    }

    /// Slots of rows that change. Their words move after the rows: until then flows go on by what they were judged by, and are
    /// not judged by old and new rows together.
    pub(crate) fn stale_late(&self) -> BTreeSet<Slot> {
        let mut stale = BTreeSet::new();
        stale.extend(self.ports.judged_otherwise().map(|row| row.slot));
        stale.extend(self.locations.changed.iter().map(|(_, _, new)| new.slot));
        stale.extend(self.prefixes.changed.iter().map(|(_, _, new)| new.slot));
        stale.remove(&0);
        stale
    }
}

/// The prefixes of a set of rows, to find the longest around an address.
pub(crate) struct Prefixes<'a> {
    rows: &'a Rows,
    lengths: BTreeMap<NetworkIndex, BTreeSet<u32>>,
}

impl<'a> Prefixes<'a> {
    pub(crate) fn of(rows: &'a Rows) -> Self {
        let mut lengths: BTreeMap<NetworkIndex, BTreeSet<u32>> = BTreeMap::new();
        for key in rows.prefixes.keys() {
            lengths.entry(key.data.network).or_default().insert(key.length);
        }
        Self { rows, lengths }
    }

    /// The longest prefix around an address that is shorter than `length`.
    pub(crate) fn around(&self, network: NetworkIndex, address: Address, length: u32) -> Option<&'a LocationRow> {
        let lengths = self.lengths.get(&network)?;
        lengths.range(..length).rev().find_map(|length| {
            let data = PrefixKey::new(network, leading(address, length.saturating_sub(32)));
            self.rows.prefixes.get(&Prefixed { length: *length, data })
        })
    }
}

/// Network, first address and length of a prefix.
pub(crate) const fn place(key: &Prefixed<PrefixKey>) -> (NetworkIndex, Address, u32) {
    (key.data.network, key.data.address, key.length)
}

/// The first bits of an address, the others zero.
pub(crate) fn leading(address: Address, bits: u32) -> Address {
    let mut left = bits;
    Address(address.0.map(|word| {
        let here = left.min(32);
        left -= here;
        word & u32::MAX.checked_shl(32 - here).unwrap_or(0).to_be()
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn the_leading_bits_of_an_address() {
        let of = |text: &str, bits| leading(text.parse::<IpAddr>().unwrap().into(), bits).to_string();
        assert_eq!(of("10.1.2.3", 96 + 8), "10.0.0.0");
        assert_eq!(of("10.1.2.3", 128), "10.1.2.3");
        assert_eq!(of("10.1.2.3", 0), "::");
        assert_eq!(of("fd00:10:ffff::7", 33), "fd00:10:8000::");
    }
}
