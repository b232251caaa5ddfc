//! Connections are removed by the kernel, and what they took is given back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod common;

use andromede_abi::{Address, FlowKey, FlowRow, Usage, UsageRow, flow_hold, from_bytes};
use andromede_dataplane::{Dataplane, Sizes};
use common::{host, isolated};
use nix::time::{ClockId, clock_gettime};

/// Slot of the port that opened every connection.
const PORT: u32 = 7;
const SECOND: u64 = 1_000_000_000;

fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    now.tv_sec().cast_unsigned() * SECOND + now.tv_nsec().cast_unsigned()
}

/// A connection that was last seen this long ago, and lives for a minute.
fn flow(number: u16, seconds_ago: u64) -> (FlowKey, FlowRow) {
    let low = Address::from(std::net::Ipv4Addr::new(10, 0, 0, 1));
    let high = Address::from(std::net::Ipv4Addr::new(10, 0, 0, 2));
    let key =
        FlowKey { network: 1, low, high, low_port: number, high_port: 80, protocol: 6, class: 0, reserved: [0; 2] };
    let zero: FlowRow = from_bytes(&[0; size_of::<FlowRow>()]).unwrap();
    let hold = u64::from(number) << 8 | 4 | flow_hold::HALF_OPEN;
    let seen = now().saturating_sub(seconds_ago * SECOND);
    (key, FlowRow { owner: key.owner(), seen, lifetime: 60, hold, initiator_budget: PORT, ..zero })
}

#[test]
fn what_is_over_goes_and_gives_back_what_it_took() {
    isolated(|_| {
        let dataplane = Dataplane::load(None, &host(), &Sizes::small()).unwrap();
        let tables = &dataplane.tables;
        let reaper = dataplane.reaper().unwrap();
        reaper.beat().unwrap();
        reaper.beat().unwrap();
        for number in 0..1000 {
            let (key, row) = flow(number, if number < 300 { 61 } else { 0 });
            tables.flows.insert(&key, &row).unwrap();
        }
        reaper.correct(PORT, Usage::Outbound, 1000).unwrap();
        reaper.correct(PORT, Usage::OutboundHalfOpen, 1000).unwrap();
        let keys: Vec<FlowKey> = (0..1000).map(|number| flow(number, 0).0).collect();
        assert_eq!(reaper.reap(&keys).unwrap(), 300, "those that are over, of all");
        assert_eq!(tables.flows.count().unwrap(), 700);
        let usage = || tables.usage.get(&PORT).unwrap().unwrap_or(UsageRow::NONE);
        assert_eq!((usage().get(Usage::Outbound), usage().get(Usage::OutboundHalfOpen)), (700, 700));
        assert_eq!(tables.flows.get(&flow(299, 0).0).unwrap(), None);
        assert!(tables.flows.get(&flow(300, 0).0).unwrap().is_some());

        assert_eq!(reaper.reap(&keys).unwrap(), 0);
        assert_eq!(reaper.evict(&keys[200..500]).unwrap(), 200, "the first hundred are gone");
        assert_eq!(usage().get(Usage::Outbound), 500);
        reaper.correct(PORT, Usage::Outbound, -500).unwrap();
        assert_eq!(usage().get(Usage::Outbound), 0);
    });
}

#[test]
fn a_locked_row_belongs_to_who_locked_it() {
    isolated(|_| {
        let dataplane = Dataplane::load(None, &host(), &Sizes::small()).unwrap();
        let (key, row) = flow(1, 100);
        dataplane.tables.flows.insert(&key, &FlowRow { hold: row.hold | flow_hold::LOCKED, ..row }).unwrap();
        let reaper = dataplane.reaper().unwrap();
        assert_eq!((reaper.reap(&[key]).unwrap(), reaper.evict(&[key]).unwrap()), (0, 0));
        assert_eq!(dataplane.tables.flows.count().unwrap(), 1);
    });
}
