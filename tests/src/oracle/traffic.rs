//! Events by chance: conversations that go somewhere, and packets that do not belong.

use std::net::IpAddr;

use super::{
    Event, FOREIGN, HOST, NOBODY, ROUTER, STRANGER, Sender,
    packet::{Complaint, DATAGRAM, Packet, Part, What},
    rules::{Does, LISTS, Remote, Rule},
};
use crate::{
    chance::Chance,
    twin::{END_LOCAL_A, END_LOCAL_B, END_REMOTE, END_VTEP, End},
};

/// Destination ports that rules name or miss.
const SERVICES: [u16; 4] = [53, 80, 443, 8_040];
/// Ports of clients: few, so that conversations go on.
const CLIENTS: [u16; 2] = [40_000, 40_001];
/// SYN, ACK, SYN-ACK, FIN-ACK, RST, RST-ACK, PSH-ACK.
const FLAGS: [u8; 12] = [2, 2, 2, 16, 16, 16, 18, 18, 17, 4, 20, 24];
/// Seconds between packets: no span of seven is that of a timeout.
const TICK: u64 = 7;

/// A source of events.
#[derive(Clone, Debug)]
pub struct Traffic {
    chance: Chance,
    /// The last conversation, which may go on.
    last: Option<(usize, Sender, Packet)>,
    datagrams: u32,
}

impl Traffic {
    /// From a seed, which is not 0.
    pub const fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed), last: None, datagrams: 0 }
    }

    /// The next event.
    pub fn event(&mut self) -> Event {
        match self.chance.below(120) {
            0..=3 => {
                let count = self.chance.below(5);
                let rules = (0..count).map(|_| self.keeping_rule()).collect();
                Event::Rules(self.tenant(), self.chance.below(2), rules)
            }
            4..=5 => {
                let count = self.chance.below(3);
                let rules = (0..count).map(|_| self.operators_rule()).collect();
                Event::Operator(self.tenant(), rules)
            }
            6 => Event::List(self.tenant(), self.chance.below(2), self.prefixes()),
            7..=13 => Event::Wait(TICK * self.chance.pick(&[1, 1, 1, 2, 2, 3, 9, 20, 40, 45, 1_100])),
            14..=23 => self.complaint().unwrap_or_else(|| self.packet()),
            _ => self.packet(),
        }
    }

    /// A rule.
    pub fn rule(&mut self) -> Rule {
        let protocol =
            self.chance.pick(&[None, Some(6), Some(6), Some(17), Some(17), Some(1), Some(58), Some(132), Some(47)]);
        let with_ports = matches!(protocol, Some(6 | 17 | 132)) && !self.chance.one_in(3);
        let first = self.chance.pick(&SERVICES);
        let icmp = matches!(protocol, Some(1 | 58)) && self.chance.one_in(2);
        let cidrs = [
            (End(0).v4().into(), 24),
            (END_REMOTE.v4().into(), 32),
            (END_VTEP.v4().into(), 26),
            (END_LOCAL_B.v4().into(), 31),
            (END_REMOTE.v6().into(), 128),
            (End(0).v6().into(), 64),
        ];
        let remote = match self.chance.below(6) {
            0..=2 => Remote::Any,
            3..=4 => {
                let (network, bits): (IpAddr, u8) = self.chance.pick(&cidrs);
                let other_family = protocol == Some(if network.is_ipv4() { 58 } else { 1 });
                if other_family { Remote::Any } else { Remote::Cidr(network, bits) }
            }
            _ if self.chance.one_in(2) && !matches!(protocol, Some(1 | 58)) => Remote::List(self.chance.below(2)),
            _ => Remote::Group(self.chance.below(2)),
        };
        Rule {
            ingress: !self.chance.one_in(4),
            does: if self.chance.one_in(4) { Does::Deny } else { Does::Allow },
            keep: false,
            priority: self.chance.pick(&[10, 20, 30]),
            protocol,
            ports: with_ports.then(|| (first, first + self.chance.pick(&[0, 0, 40]))),
            icmp: icmp.then(|| (self.chance.pick(&[8, 128, 13, 140]), self.chance.pick(&[None, Some(0)]))),
            remote,
        }
    }

    /// A rule that perhaps spares connections that live: those of some priorities do, so that of equal ones all do.
    fn keeping_rule(&mut self) -> Rule {
        let rule = self.rule();
        let keep = self.chance.one_in(2);
        let does = if keep && self.chance.one_in(2) { Does::Deny } else { rule.does };
        let rule = Rule { priority: rule.priority + u16::from(keep), keep, does, ..rule };
        if self.chance.one_in(3) {
            return Rule { protocol: None, ports: None, icmp: None, remote: Remote::Any, ..rule };
        }
        rule
    }

    /// What a list may hold.
    fn prefixes(&mut self) -> Vec<(IpAddr, u8)> {
        let (near, far) = (LISTS[0].1, LISTS[1].1);
        let some = if self.chance.one_in(2) { near } else { far };
        let mut prefixes = vec![self.chance.pick(some)];
        if self.chance.one_in(2) {
            prefixes.push((END_REMOTE.v6().into(), 128));
        }
        prefixes
    }

    /// A tenant, as a rule the one of the last conversation: what it talks is what new rules are for.
    fn tenant(&mut self) -> usize {
        match self.last {
            Some((tenant, ..)) if !self.chance.one_in(4) => tenant,
            _ => self.chance.below(2),
        }
    }

    /// A rule of the operator's: it knows no groups and no lists of tenants, and may leave the decision to them.
    fn operators_rule(&mut self) -> Rule {
        let rule = self.keeping_rule();
        let remote = if matches!(rule.remote, Remote::Cidr(..)) { rule.remote } else { Remote::Any };
        if self.chance.one_in(3) {
            return Rule { does: Does::Pass, keep: false, priority: 5, remote, ..rule };
        }
        Rule { remote, ..rule }
    }

    /// An ICMP error about the last packet, or about its answer.
    fn complaint(&mut self) -> Option<Event> {
        let (tenant, _, last) = self.last?;
        let about = if self.chance.one_in(3) { self.next_of(self.last?).2 } else { last };
        let from = if self.chance.one_in(3) {
            self.chance.pick(&[END_VTEP, END_REMOTE, END_LOCAL_A, END_LOCAL_B])
        } else {
            about.to
        };
        let to =
            if self.chance.one_in(8) { self.chance.pick(&[END_REMOTE, END_LOCAL_A, END_LOCAL_B]) } else { about.from };
        let mut sender = self.at(tenant, from);
        if self.chance.one_in(12) {
            sender = Sender::Host(self.chance.pick(&[STRANGER, HOST, FOREIGN[tenant]]));
        }
        Some(Event::Complain(tenant, sender, Complaint { from, to, unreachable: self.chance.one_in(2), about }))
    }

    fn packet(&mut self) -> Event {
        let (tenant, sender, packet) = match self.last {
            Some(last) if !self.chance.one_in(4) => self.next_of(last),
            _ => self.fresh(),
        };
        self.last = Some((tenant, sender, packet));
        Event::Send(tenant, sender, packet)
    }

    /// The next packet of a conversation: of the same side, or an answer.
    fn next_of(&mut self, (tenant, sender, packet): (usize, Sender, Packet)) -> (usize, Sender, Packet) {
        let answer = !self.chance.one_in(3);
        let mut next = packet;
        if answer {
            (next.from, next.to) = (packet.to, packet.from);
        }
        let what = if answer { packet.what.reversed() } else { packet.what };
        next.what = match what {
            What::Tcp { source, destination, .. } => {
                What::Tcp { source, destination, flags: self.chance.pick(&FLAGS), data: self.chance.one_in(3) }
            }
            What::Sctp { source, destination, .. } => What::Sctp { source, destination, chunk: self.chunk() },
            same => same,
        };
        next.part = self.part(&next, packet.part);
        let sender = if answer { self.at(tenant, next.from) } else { sender };
        (tenant, sender, next)
    }

    fn chunk(&mut self) -> u8 {
        self.chance.pick(&[1, 1, 2, 10, 11, 0, 3, 6, 14])
    }

    fn fresh(&mut self) -> (usize, Sender, Packet) {
        let tenant = self.chance.below(2);
        let from = self.chance.pick(&[END_LOCAL_A, END_LOCAL_A, END_LOCAL_B, END_REMOTE, END_REMOTE, END_VTEP]);
        let mut to = self.chance.pick(&[END_LOCAL_A, END_LOCAL_B, END_LOCAL_B, END_REMOTE, END_VTEP]);
        if self.chance.one_in(25) {
            to = self.chance.pick(&[ROUTER, NOBODY]);
        }
        let (source, destination) = (self.chance.pick(&CLIENTS), self.chance.pick(&SERVICES));
        let v6 = self.chance.one_in(2);
        let what = match self.chance.below(12) {
            0..=4 => What::Tcp { source, destination, flags: self.chance.pick(&FLAGS), data: self.chance.one_in(4) },
            5..=7 => What::Udp { source, destination },
            8 => What::Echo { request: !self.chance.one_in(3), id: self.chance.pick(&[1, 2]) },
            9 => What::Message { kind: if v6 { 140 } else { self.chance.pick(&[13, 17]) }, code: 0 },
            10 => What::Sctp { source, destination, chunk: self.chunk() },
            _ => What::Other(47),
        };
        let mut packet = Packet { v6, from, to, what, part: None };
        packet.part = self.part(&packet, None);
        let mut sender = self.at(tenant, from);
        if self.chance.one_in(25) {
            sender = self.chance.pick(&[
                Sender::Host(STRANGER),
                Sender::Host(HOST),
                Sender::Host(FOREIGN[tenant]),
                Sender::Workload(END_LOCAL_A),
            ]);
        }
        (tenant, sender, packet)
    }

    /// Who sends what comes from this end.
    fn at(&mut self, tenant: usize, from: End) -> Sender {
        match from {
            END_LOCAL_A | END_LOCAL_B => Sender::Workload(from),
            END_VTEP => Sender::Host(FOREIGN[tenant]),
            END_REMOTE => Sender::Host(HOST),
            _ => Sender::Host(self.chance.pick(&[HOST, FOREIGN[tenant]])),
        }
    }

    /// A part of a datagram, of the same one as before as a rule.
    fn part(&mut self, packet: &Packet, before: Option<Part>) -> Option<Part> {
        let in_parts = matches!(packet.what, What::Udp { .. } | What::Echo { .. } | What::Other(_));
        if !in_parts || !(before.is_some() || self.chance.one_in(3)) {
            return None;
        }
        if before.is_none() || self.chance.one_in(5) {
            self.datagrams += 1;
        }
        let (start, end) = self.chance.pick(&[
            (0, 16),
            (0, 16),
            (0, 32),
            (16, 32),
            (24, 40),
            (32, 48),
            (32, DATAGRAM),
            (48, DATAGRAM),
        ]);
        Some(Part {
            id: before.map_or(self.datagrams, |part| if self.chance.one_in(5) { self.datagrams } else { part.id }),
            start,
            end,
        })
    }
}
