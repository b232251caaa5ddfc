#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
use andromede_proto::agent::v1::PlaceUsage;

use super::*;
use crate::fixtures;

fn day(number: u32) -> Day {
    Day::from_number(20_000 + number)
}

fn network(tenant: &str, index: u32) -> Network {
    let Some(andromede_model::Resource::Network(network)) = Some(fixtures::network(tenant)) else { unreachable!() };
    Network { index, tenant_index: index + 100, ..network }
}

fn record(of: &Network, day: Day, place: i32, bytes: u64) -> NetworkUsage {
    NetworkUsage {
        day: day.to_string(),
        network: of.name.to_string(),
        network_index: of.index,
        tenant_index: of.tenant_index,
        places: vec![PlaceUsage { place, packets: bytes / 10, bytes, flows: 1 }],
    }
}

/// A host that holds networks tells this.
fn told(host: u8, held: &[&Network], book: &str, sequence: u64, records: Vec<NetworkUsage>) -> Answered {
    Answered {
        host: format!("hosts/h{host}").parse().unwrap(),
        held: held.iter().map(|network| (*network).clone()).collect(),
        usage: Usage { book: book.to_owned(), sequence, records },
    }
}

/// Day, tenant, place and bytes of all lines.
fn lines(ledger: &Ledger) -> Vec<(u32, String, usize, u64)> {
    let (lines, more) = ledger.lines((day(0), day(9)), None, None, 100).unwrap();
    assert!(!more);
    let line = |line: Line| (line.at.day.number() - 20_000, line.at.tenant, line.at.place, line.used.bytes);
    lines.into_iter().map(line).collect()
}

#[test]
fn what_is_told_twice_counts_once_and_hosts_and_books_are_summed() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    let (a, b) = (network("a", 1), network("b", 2));
    let first = told(1, &[&a], "x", 1, vec![record(&a, day(1), 1, 100)]);
    let added = ledger.take(day(1), std::slice::from_ref(&first)).unwrap();
    assert_eq!(added[0].1[1].bytes, 100);
    assert!(ledger.take(day(1), std::slice::from_ref(&first)).unwrap().is_empty());
    assert_eq!(lines(&ledger), [(1, "tenants/a".to_owned(), 1, 100)]);
    // More of the same day, another host, and a host that lost its book.
    let more = [
        told(1, &[&a], "x", 3, vec![record(&a, day(1), 1, 150)]),
        told(2, &[&a, &b], "y", 7, vec![record(&a, day(1), 1, 1_000), record(&b, day(2), 3, 5)]),
        told(1, &[&a], "z", 1, vec![record(&a, day(1), 1, 10)]),
    ];
    let added = ledger.take(day(2), &more).unwrap();
    assert_eq!(added.iter().map(|(_, places)| places[1].bytes + places[3].bytes).sum::<u64>(), 1_065);
    let expected = [(1, "tenants/a".to_owned(), 1, 1_160), (2, "tenants/b".to_owned(), 3, 5)];
    assert_eq!(lines(&ledger), expected);
    let questions = ledger.questions().unwrap();
    assert_eq!(questions["hosts/h1"], Question { book: "z".to_owned(), sequence: 1 });
    // An older sum takes nothing away, and all of it is there after the file is opened again.
    ledger.take(day(2), std::slice::from_ref(&first)).unwrap();
    drop(ledger);
    assert_eq!(lines(&Ledger::open(folder.path()).unwrap()), expected);
}

#[test]
fn a_host_speaks_of_what_it_holds_or_held() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    let (a, b) = (network("a", 1), network("b", 2));
    ledger.take(day(1), &[told(1, &[&a], "x", 1, Vec::new())]).unwrap();
    let stranger = NetworkUsage { tenant_index: 9, ..record(&a, day(1), 1, 100) };
    let of_no_day = NetworkUsage { day: "2026-02-31".to_owned(), ..record(&a, day(1), 1, 100) };
    let records =
        vec![record(&b, day(1), 1, 7), stranger, of_no_day, record(&a, day(9), 1, 7), record(&a, day(1), 99, 7)];
    assert!(ledger.take(day(1), &[told(1, &[], "x", 2, records)]).unwrap().is_empty());
    assert!(lines(&ledger).is_empty());
    ledger.take(day(1), &[told(1, &[], "x", 3, vec![record(&a, day(1), 1, 100)])]).unwrap();
    assert_eq!(lines(&ledger), [(1, "tenants/a".to_owned(), 1, 100)], "it held the network");
}

#[test]
fn pages_go_on_where_the_last_ended_and_old_days_go() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    let networks: Vec<Network> = [("a", 1), ("b", 2), ("c", 3)].map(|(tenant, index)| network(tenant, index)).into();
    let held: Vec<&Network> = networks.iter().collect();
    for number in 0..4 {
        let of = |network: &&Network| [record(network, day(number), 1, 10), record(network, day(number), 2, 10)];
        let mut records: Vec<NetworkUsage> = held.iter().flat_map(of).collect();
        // Both places of a network stand in one record, as an agent tells them.
        for at in (0..3).rev() {
            let second = records.remove(2 * at + 1);
            records[2 * at].places.extend(second.places);
        }
        let hosts = [1, 2].map(|host| told(host, &held, "x", 1, records.clone()));
        ledger.take(day(number), &hosts).unwrap();
    }
    let whole = ledger.lines((day(0), day(9)), None, None, 1_000).unwrap().0;
    assert_eq!((whole.len(), whole[0].used.bytes), (4 * 3 * 2, 20));
    for size in 1..9 {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (page, more) = ledger.lines((day(0), day(9)), None, after.as_ref(), size).unwrap();
            assert!(page.len() == size || !more);
            after = page.last().map(|line| line.at.clone());
            found.extend(page);
            if !more {
                break;
            }
        }
        assert_eq!(found, whole, "{size}");
    }
    let of = OfTenant { name: "tenants/b".to_owned(), index: Some(102) };
    assert_eq!(ledger.lines((day(1), day(2)), Some(&of), None, 100).unwrap().0.len(), 4);
    let other = OfTenant { index: Some(7), ..of };
    assert!(ledger.lines((day(0), day(9)), Some(&other), None, 100).unwrap().0.is_empty());
    ledger.prune(Day::from_number(20_002 + RETENTION_DAYS), |_| false).unwrap();
    assert_eq!(ledger.lines((day(0), day(9)), None, None, 100).unwrap().0.len(), 2 * 3 * 2);
    assert!(ledger.questions().unwrap().is_empty());
}
