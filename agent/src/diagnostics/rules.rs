//! What rules decided, with names: counted, and one by one.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{SystemTime, UNIX_EPOCH},
};

use andromede_abi::{Action, RuleEvent, TENANT_USAGE, Usage, rule_direction};
use andromede_dataplane::{TableError, Tables};
use andromede_proto::v1;

use super::{
    HostNames,
    drops::{address, unix_nanos},
};

/// Events that are remembered of one port.
const OF_PORT: usize = 256;
/// Events that are remembered of all ports.
const OF_HOST: usize = 8_192;
/// ICMP and `ICMPv6`.
const ICMP: [u8; 2] = [1, 58];

/// The last events of rules, each port's by itself: no port pushes out what others had to tell, as long as there is room for a share.
#[derive(Debug)]
pub(super) struct RuleLog {
    ports: BTreeMap<String, VecDeque<v1::RuleEvent>>,
    events: usize,
    /// The number of the first event since the agent began.
    first: u64,
    /// The number of the next event.
    next: u64,
}

impl Default for RuleLog {
    fn default() -> Self {
        // Microseconds since 1970: no host has a million events a second, so that numbers grow over a restart too.
        let begin = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let first = u64::try_from(begin).unwrap_or(0).max(1);
        Self { ports: BTreeMap::new(), events: 0, first, next: first }
    }
}

impl RuleLog {
    /// Remembers an event and gives it its number.
    pub(super) fn push(&mut self, mut event: v1::RuleEvent) {
        event.sequence = self.next;
        self.next = self.next.saturating_add(1);
        let of_port = self.ports.entry(event.port.clone()).or_default();
        of_port.push_back(event);
        self.events = self.events.saturating_add(1);
        if of_port.len() > OF_PORT {
            of_port.pop_front();
            self.events = self.events.saturating_sub(1);
        }
        if self.events > OF_HOST {
            self.drop_one();
        }
    }

    /// Forgets the oldest event of the port that has most.
    fn drop_one(&mut self) {
        let longest = self.ports.iter().max_by_key(|(_, events)| events.len()).map(|(port, _)| port.clone());
        let Some(port) = longest else { return };
        if let Some(events) = self.ports.get_mut(&port)
            && events.pop_front().is_some()
        {
            self.events = self.events.saturating_sub(1);
            if events.is_empty() {
                self.ports.remove(&port);
            }
        }
    }

    /// How many events behind the one that the question names are not remembered any more; 0 if it names none.
    pub(super) fn missing(&self, host: &str, request: &v1::ListRuleEventsRequest) -> u64 {
        let Some(after) = request.after.get(host) else { return 0 };
        let known = (*after).max(self.first.saturating_sub(1));
        let since = self.next.saturating_sub(1).saturating_sub(known);
        let remembered = self.ports.values().flatten().filter(|event| event.sequence > known).count();
        since.saturating_sub(u64::try_from(remembered).unwrap_or(u64::MAX))
    }

    /// The events that are asked for, the oldest first.
    pub(super) fn list(&self, host: &str, request: &v1::ListRuleEventsRequest) -> Vec<v1::RuleEvent> {
        let after = request.after.get(host).copied().unwrap_or(0);
        let ports = self.ports.iter().filter(|(port, _)| request.port.is_empty() || **port == request.port);
        let events = ports.flat_map(|(_, events)| events).filter(|event| event.sequence > after);
        let mut events: Vec<_> = events.cloned().collect();
        events.sort_by_key(|event| event.sequence);
        events
    }
}

/// Events that were not sent, by port.
pub(super) fn lost(
    host: &str,
    tables: &Tables,
    names: &HostNames,
    request: &v1::ListRuleEventsRequest,
) -> Result<Vec<v1::LostRuleEvents>, TableError> {
    let mut lost = Vec::new();
    tables.usage.for_each(|slot, row| {
        let events = row.get(Usage::RuleEventsLost);
        if slot & TENANT_USAGE == 0 && events > 0 {
            lost.push(v1::LostRuleEvents { host: host.to_owned(), port: names.port(slot, 0), events });
        }
    })?;
    lost.retain(|lost| !lost.port.is_empty() && (request.port.is_empty() || lost.port == request.port));
    lost.sort_by(|a, b| a.port.cmp(&b.port));
    Ok(lost)
}

/// The hits of the rules that are counted; those whose rule has a name.
pub(super) fn hits(
    host: &str,
    tables: &Tables,
    names: &HostNames,
    request: &v1::ListRuleHitsRequest,
) -> Result<Vec<v1::RuleHits>, TableError> {
    let mut counted = tables.rule_hits.all()?;
    counted.sort_unstable();
    let named = counted.into_iter().filter_map(|(number, hits)| {
        let owner = names.rule_owner(number)?.to_owned();
        let is_wanted = request.owner.is_empty() || owner == request.owner;
        let rule = names.rule(number);
        is_wanted.then(|| v1::RuleHits { host: host.to_owned(), owner, rule, rule_number: number, hits })
    });
    Ok(named.collect())
}

/// An event with names, without its number. `now` is the time of the event's clock now.
pub(super) fn event(host: &str, event: &RuleEvent, names: &HostNames, now: u64) -> v1::RuleEvent {
    let is_icmp = ICMP.contains(&event.protocol);
    let port = |port: u16| if is_icmp { 0 } else { u32::from(u16::from_be(port)) };
    let [kind, code] = event.destination_port.to_ne_bytes().map(u32::from);
    let is_allow = event.action == Action::Allow as u8;
    let is_egress = event.direction == rule_direction::EGRESS;
    v1::RuleEvent {
        host: host.to_owned(),
        sequence: 0,
        time_unix_nanos: unix_nanos(event.time, now),
        port: names.port(event.port, event.network),
        network: names.network(event.network),
        owner: names.rule_owner(event.rule).unwrap_or_default().to_owned(),
        rule: names.rule(event.rule),
        rule_number: event.rule,
        direction: if is_egress { v1::Direction::Egress } else { v1::Direction::Ingress }.into(),
        action: if is_allow { v1::Action::Allow } else { v1::Action::Deny }.into(),
        protocol: u32::from(event.protocol),
        source: address(event.source),
        destination: address(event.destination),
        source_port: port(event.source_port),
        destination_port: port(event.destination_port),
        icmp_type: is_icmp.then_some(kind),
        icmp_code: is_icmp.then_some(code),
        length: event.length,
        connection: event.connection,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn told(port: &str) -> v1::RuleEvent {
        v1::RuleEvent { port: port.to_owned(), ..v1::RuleEvent::default() }
    }

    fn asked(port: &str, after: u64) -> v1::ListRuleEventsRequest {
        v1::ListRuleEventsRequest {
            port: port.to_owned(),
            after: [("hosts/h1".to_owned(), after)].into(),
            ..v1::ListRuleEventsRequest::default()
        }
    }

    #[test]
    fn a_port_that_tells_much_leaves_room_for_others() {
        let mut log = RuleLog::default();
        log.push(told("quiet"));
        for _ in 0..10_000 {
            log.push(told("loud"));
        }
        assert_eq!(log.list("hosts/h1", &asked("quiet", 0)).len(), 1);
        assert_eq!(log.list("hosts/h1", &asked("loud", 0)).len(), OF_PORT);
        for number in 0..10_000 {
            log.push(told(&format!("p{number}")));
        }
        let all = log.list("hosts/h1", &asked("", 0));
        assert_eq!((all.len(), log.events), (OF_HOST, OF_HOST));
        assert_eq!(log.ports.values().map(VecDeque::len).sum::<usize>(), OF_HOST);
        assert!(all.is_sorted_by(|a, b| a.sequence < b.sequence), "each has a number of its own");
    }

    #[test]
    fn only_what_is_new_is_told_to_who_says_what_it_knows() {
        let mut log = RuleLog::default();
        log.push(told("a"));
        let last = log.list("hosts/h1", &asked("", 0)).last().unwrap().sequence;
        assert!(log.list("hosts/h1", &asked("", last)).is_empty());
        log.push(told("a"));
        assert_eq!(log.list("hosts/h1", &asked("", last)).len(), 1);
        assert_eq!(log.missing("hosts/h1", &asked("", last)), 0);
        for _ in 0..1_000 {
            log.push(told("a"));
        }
        assert_eq!(log.missing("hosts/h1", &asked("", last)), 1_001 - OF_PORT as u64);
        assert_eq!(log.missing("hosts/h2", &asked("", last)), 0, "who has no number yet misses nothing");
        assert_eq!(
            log.missing("hosts/h1", &asked("", 7)),
            1_002 - OF_PORT as u64,
            "numbers of an agent before count for nothing"
        );
        assert_eq!(log.list("hosts/h2", &asked("", last)).len(), OF_PORT, "another host's numbers are others");
        assert!(RuleLog::default().next >= last, "numbers grow over a restart");
    }

    #[test]
    fn an_icmp_message_has_a_type_and_no_port() {
        let event_in = RuleEvent {
            time: 0,
            connection: 5,
            rule: 1024,
            port: 1,
            network: 1,
            length: 98,
            source: std::net::Ipv4Addr::new(10, 0, 0, 1).into(),
            destination: std::net::Ipv4Addr::new(10, 0, 0, 2).into(),
            source_port: 77,
            destination_port: u16::from_ne_bytes([8, 0]),
            protocol: 1,
            tcp_flags: 0,
            direction: rule_direction::INGRESS,
            action: Action::Deny as u8,
        };
        let echo = event("hosts/h1", &event_in, &HostNames::default(), 0);
        assert_eq!((echo.icmp_type, echo.icmp_code), (Some(8), Some(0)));
        assert_eq!((echo.source_port, echo.destination_port), (0, 0));
        assert_eq!((echo.direction(), echo.action()), (v1::Direction::Ingress, v1::Action::Deny));
        let syn = RuleEvent { protocol: 6, destination_port: 443_u16.to_be(), ..event_in };
        let syn = event("hosts/h1", &syn, &HostNames::default(), 0);
        assert_eq!((syn.destination_port, syn.icmp_type), (443, None));
    }
}
