//! Drops with names.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use andromede_abi::{Address, DropCounterKey, DropEvent, DropReason, Stage, hook};
use andromede_dataplane::{TableError, Tables};
use andromede_proto::v1;

use super::HostNames;

/// Counters that a port has at least.
const LEAST_OF_A_PORT: usize = 64;

fn reason_name(number: u32) -> String {
    let known = u16::try_from(number).ok().and_then(DropReason::from_number);
    known.map_or_else(|| format!("reason {number}"), |reason| reason.name().to_owned())
}

fn hook_name(number: u8) -> &'static str {
    match number {
        hook::FROM_WORKLOAD => "from_workload",
        hook::FROM_UNDERLAY => "from_underlay",
        hook::FROM_OVERLAY => "from_overlay",
        hook::FROM_HOST => "from_host",
        _ => "",
    }
}

/// The counters of the host, or of one port; the largest first.
pub(super) fn counts(
    host: &str,
    tables: &Tables,
    names: &HostNames,
    request: &v1::ListDropsRequest,
) -> Result<Vec<v1::DropCount>, TableError> {
    let counters = tables.drops.all()?;
    let named = counters.into_iter().map(|(key, packets)| v1::DropCount {
        host: host.to_owned(),
        port: names.port(key.port, key.network),
        network: names.network(key.network),
        reason: reason_name(key.reason),
        reason_number: key.reason,
        rule: names.rule(key.rule),
        rule_number: key.rule,
        packets,
    });
    let mut counts: Vec<_> =
        named.filter(|count| count.packets > 0 && (request.port.is_empty() || count.port == request.port)).collect();
    counts.sort_by(|a, b| b.packets.cmp(&a.packets).then_with(|| a.port.cmp(&b.port)));
    Ok(counts)
}

/// Where more than half of the counters are taken, those of ports and networks that are gone are forgotten, and of each port those that
/// count least, until it has its share: a port that meets thousands of rules leaves room for the others. The packets remain in the totals.
pub(super) fn sweep(tables: &Tables, names: &HostNames) -> Result<(), TableError> {
    let counters = tables.drops.all()?;
    let most = usize::try_from(tables.drops.capacity()).unwrap_or(usize::MAX);
    // Before the first pass nothing has a name.
    if names.is_empty() || counters.len() <= most / 2 {
        return Ok(());
    }
    let is_known = |key: &DropCounterKey| {
        (key.port == 0 || !names.port(key.port, key.network).is_empty())
            && (key.network == 0 || !names.network(key.network).is_empty())
    };
    for key in excess(counters, most / 2, is_known) {
        tables.drops.remove(&key)?;
    }
    Ok(())
}

/// The counters that are forgotten, so that all ports together have no more than `most`, or each at least [`LEAST_OF_A_PORT`].
fn excess(
    counters: Vec<(DropCounterKey, u64)>,
    most: usize,
    is_known: impl Fn(&DropCounterKey) -> bool,
) -> Vec<DropCounterKey> {
    let (known, mut forgotten): (Vec<_>, Vec<_>) = counters.into_iter().partition(|(key, _)| is_known(key));
    let mut by_port: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (key, packets) in known {
        by_port.entry((key.network, key.port)).or_default().push((key, packets));
    }
    let share = most.checked_div(by_port.len()).unwrap_or(most).max(LEAST_OF_A_PORT);
    for mut of_port in by_port.into_values() {
        of_port.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
        forgotten.extend(of_port.into_iter().skip(share));
    }
    forgotten.into_iter().map(|(key, _)| key).collect()
}

/// An event with names. `now` is the time of the event's clock now.
pub(super) fn event(host: &str, event: &DropEvent, names: &HostNames, now: u64) -> v1::DropEvent {
    let outer = Address::from_v4_word(event.outer_source);
    v1::DropEvent {
        host: host.to_owned(),
        time_unix_nanos: unix_nanos(event.time, now),
        port: names.port(event.port, event.network),
        network: names.network(event.network),
        reason: reason_name(u32::from(event.reason)),
        rule: names.rule(event.rule),
        rule_number: event.rule,
        stage: Stage::from_number(event.stage).map(Stage::name).unwrap_or_default().to_owned(),
        hook: hook_name(event.hook).to_owned(),
        protocol: u32::from(event.protocol),
        source: address(event.source),
        destination: address(event.destination),
        source_port: u32::from(u16::from_be(event.source_port)),
        destination_port: u32::from(u16::from_be(event.destination_port)),
        outer_source: if event.outer_source == 0 { String::new() } else { outer.to_string() },
        length: event.length,
    }
}

/// Nanoseconds since 1970 of a moment of the packet path's clock, which says `now`.
pub(super) fn unix_nanos(time: u64, now: u64) -> i64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let unix = u64::try_from(unix).unwrap_or(0);
    i64::try_from(unix.saturating_sub(now.saturating_sub(time))).unwrap_or(0)
}

/// An address in words; empty where the frame had none.
pub(super) fn address(address: Address) -> String {
    if address.is_unspecified() { String::new() } else { address.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stage_and_hook_has_a_name() {
        for reason in DropReason::ALL {
            assert_eq!(reason_name(u32::from(*reason as u16)), reason.name());
        }
        assert_eq!(reason_name(60_000), "reason 60000");
        for number in 1..=4 {
            assert!(!hook_name(number).is_empty());
        }
    }

    #[test]
    fn a_port_that_meets_many_rules_leaves_room_for_others() {
        let key = |port, rule| DropCounterKey { port, network: 1, rule, reason: 64 };
        let mut counters: Vec<_> = (0..1_000).map(|rule| (key(1, rule), u64::from(rule))).collect();
        counters.extend([(key(2, 1), 1), (key(3, 1), 1)]);
        let forgotten = excess(counters, 300, |key| key.port != 3);
        assert_eq!(forgotten.iter().filter(|key| key.port == 1).count(), 850, "it has half of what there is");
        assert!(forgotten.iter().all(|key| key.port != 1 || key.rule < 850), "the largest stay");
        assert!(forgotten.contains(&key(3, 1)) && !forgotten.contains(&key(2, 1)), "who is gone goes");
    }

    #[test]
    fn an_event_is_told_in_host_order() {
        let event_in = DropEvent {
            time: 5_000,
            kind: andromede_abi::EVENT_KIND_DROP,
            reason: DropReason::UnknownSender as u16,
            stage: Stage::SenderGuard as u8,
            hook: hook::FROM_UNDERLAY,
            protocol: 6,
            tcp_flags: 2,
            rule: 0,
            port: 0,
            network: 0,
            length: 60,
            source: std::net::Ipv4Addr::new(10, 0, 0, 1).into(),
            destination: std::net::Ipv4Addr::new(10, 0, 0, 2).into(),
            source_port: 49_152_u16.to_be(),
            destination_port: 443_u16.to_be(),
            outer_source: u32::from_ne_bytes([192, 0, 2, 9]),
        };
        let named = event("hosts/a", &event_in, &HostNames::default(), 5_000);
        assert_eq!((named.source.as_str(), named.destination_port), ("10.0.0.1", 443));
        assert_eq!((named.outer_source.as_str(), named.reason.as_str()), ("192.0.2.9", "unknown-sender"));
        assert_eq!((named.stage.as_str(), named.hook.as_str()), ("sender-guard", "from_underlay"));
    }
}
