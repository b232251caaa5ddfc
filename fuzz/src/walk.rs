//! The target `walk`: conversations between ends of two networks with the same addresses, under changing rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use andromede_abi::{HostIndex, NetworkIndex, hook};
use andromede_pipeline::{
    Claim, Context, Scratch, Target, TargetKind, Tunnel, Verdict, carry_out, decide,
    memory::{Bytes, Tables},
};

use crate::{
    fabric::{self, ELSEWHERE, ENDS, FOREIGN, NETWORKS, address, ifindex, mac, slot, underlay, vni},
    frame::{Inner, encapsulated, icmp, tcp, udp},
    input::Input,
    oracle::{self, Seen},
    reached::{Passed, Reached},
};

/// A stranger on the underlay.
const STRANGER: HostIndex = 9;
const SECOND: u64 = 1_000_000_000;
/// Steps of one conversation.
const STEPS_MAX: usize = 64;

/// Two ends, protocol and ports: what a port of this host has opened, seen from the answer.
type Answer = (NetworkIndex, IpAddr, IpAddr, u8, u16, u16);

/// One host and what has happened to it.
struct Host {
    tables: Tables,
    /// Left as the frame before left it, as in the kernel.
    scratch: Scratch,
    now: u64,
    closed: bool,
    /// Is the change word of the networks odd?
    changing: bool,
    /// Answers to what ports of this host have sent: they need no ingress rule.
    answers: BTreeSet<Answer>,
    /// What has passed, as [`answer`] has it.
    passed: BTreeSet<Answer>,
    /// First parts of datagrams that have passed.
    firsts: BTreeMap<(NetworkIndex, IpAddr, IpAddr, u32), Seen>,
    reached: Reached,
}

/// Runs a conversation: each step sends a frame, changes a rule, or lets time pass. How far it got comes back.
///
/// # Panics
/// A promise is broken.
pub fn walk(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let mut host = Host {
        tables: fabric::tables(),
        scratch: Scratch::EMPTY,
        now: SECOND,
        closed: false,
        changing: false,
        answers: BTreeSet::new(),
        passed: BTreeSet::new(),
        firsts: BTreeMap::new(),
        reached: Reached::default(),
    };
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        match input.byte() % 16 {
            0 => host.set_closed(!host.closed),
            1 => host.set_changing(!host.changing),
            2 => host.now += SECOND * u64::from(input.byte()),
            _ => host.send(&mut input),
        }
    }
    host.reached
}

/// A frame on its way: from a port of this host, or from a host on the underlay.
struct Sent {
    network: NetworkIndex,
    /// None: a workload of this host sends.
    sender: Option<HostIndex>,
    /// The end that may be the source: that of the workload, or what the sender holds.
    holds: u8,
    hook: u8,
    frame: Vec<u8>,
}

impl Host {
    fn set_closed(&mut self, closed: bool) {
        self.closed = closed;
        fabric::close(&mut self.tables, closed);
    }

    fn set_changing(&mut self, changing: bool) {
        self.changing = changing;
        for network in NETWORKS {
            *self.tables.epochs.entry(slot(network, 0)).or_default() += 1;
        }
    }

    fn send(&mut self, input: &mut Input<'_>) {
        let network = input.one_of(NETWORKS);
        let way = input.byte();
        let sender = match way % 4 {
            0 | 1 => None,
            2 => Some(ELSEWHERE),
            _ => Some(input.one_of([ELSEWHERE, FOREIGN, STRANGER])),
        };
        let port: u8 = if way & 16 == 0 { 1 } else { 2 };
        let holds = match sender {
            None => port,
            Some(FOREIGN) => 4,
            Some(_) => 3,
        };
        let inner = inner(input, network, holds);
        let (hook, frame) = match sender {
            None => (hook::FROM_WORKLOAD, inner),
            Some(_) if way & 32 != 0 => (hook::FROM_OVERLAY, inner),
            Some(sender) => (hook::FROM_UNDERLAY, encapsulated(&inner, sender, vni(network))),
        };
        self.judge(&Sent { network, sender, holds, hook, frame }, ifindex(network, port));
    }

    fn judge(&mut self, sent: &Sent, ifindex: u32) {
        let config = fabric::host();
        let sender = sent.sender.map_or_else(|| underlay(STRANGER), underlay);
        let context = Context {
            tunnel: if sent.hook == hook::FROM_OVERLAY { Tunnel::new(vni(sent.network), sender) } else { Tunnel::NONE },
            marked: sent.hook == hook::FROM_OVERLAY,
            ..Context::at(sent.hook, ifindex, self.now, &config)
        };
        decide(&Bytes(sent.frame.clone()), &context, &self.tables, &mut self.scratch);
        let decided = self.scratch.verdict;
        oracle::check_reason(&decided);
        let opens = matches!(decided.claim, Claim::Open);
        assert!(!(self.changing && opens), "a connection was opened while several tables change together");
        carry_out(&self.tables, context.now, &mut self.scratch);
        let verdict = self.scratch.verdict;
        self.reached.reasons.extend(verdict.reason);
        let offset = if sent.hook == hook::FROM_UNDERLAY { 50 } else { 0 };
        let inner = sent.frame.get(offset..).unwrap_or_default();
        if let Some(seen) = oracle::read(inner) {
            let quoted = oracle::quoted(inner, &seen).filter(|_| seen.part.is_none());
            let known = self.with_ports(sent.network, &seen);
            if matches!(verdict.target.kind, TargetKind::Deliver | TargetKind::Encap) {
                self.reached.passed.insert(match (seen.part, &quoted) {
                    (None, Some(_)) => Passed::Error,
                    (None, None) => Passed::Whole,
                    (Some((_, true)), _) => Passed::First,
                    // With the ports of its first it is known as the first.
                    (Some(_), _) if known.part != seen.part => Passed::Later,
                    (Some(_), _) => Passed::Early,
                });
            }
            self.check(sent, &known, quoted.as_ref(), &verdict);
        }
        assert!(self.tables.flows.borrow().len() <= self.tables.flows_max, "the flow table is bounded");
    }

    /// A later part of a datagram, with the ports of the first if that has passed.
    fn with_ports(&self, network: NetworkIndex, seen: &Seen) -> Seen {
        let Some((id, false)) = seen.part else { return *seen };
        let first = self.firsts.get(&(network, seen.source, seen.destination, id));
        let first = first.filter(|first| first.source.is_ipv6() || first.protocol == seen.protocol);
        first.map_or(*seen, |first| Seen { source_mac: seen.source_mac, ..*first })
    }

    /// The promises about one frame.
    fn check(&mut self, sent: &Sent, seen: &Seen, quoted: Option<&Seen>, verdict: &Verdict) {
        let network = sent.network;
        let passed = matches!(verdict.target.kind, TargetKind::Deliver | TargetKind::Encap);
        if !passed {
            return;
        }
        assert_eq!(verdict.network, network, "a frame stays in its network");
        assert_ne!(sent.sender, Some(STRANGER), "a stranger's frame passed: {seen:?}");
        let own = [false, true].map(|v6| address(v6, sent.holds).into());
        assert!(own.contains(&seen.source), "passed from an address that the sender does not hold: {seen:?}");
        if sent.sender.is_none() {
            assert_eq!(seen.source_mac, mac(network, sent.holds), "passed with another's Ethernet address: {seen:?}");
        }
        if let Some(quoted) = quoted {
            assert_eq!(quoted.source, seen.destination, "an error goes to the sender of what it is about: {quoted:?}");
            // Of a live connection: one of its two ways has passed.
            let Seen { source, destination, protocol, source_port, destination_port, .. } = *quoted;
            let reversed = (network, source, destination, protocol, source_port, destination_port);
            let known = self.passed.contains(&answer(network, quoted)) || self.passed.contains(&reversed);
            assert!(known, "an error about nothing passed: {quoted:?}");
        }
        if let Some((id, true)) = seen.part {
            self.firsts.insert((network, seen.source, seen.destination, id), *seen);
        }
        if seen.part.is_none_or(|(_, first)| first) {
            self.passed.insert(answer(network, seen));
            if sent.sender.is_none() && quoted.is_none() {
                self.answers.insert(answer(network, seen));
            }
        }
        match verdict.target {
            Target { kind: TargetKind::Deliver, ifindex: to, .. } => {
                self.check_delivery(network, seen, quoted.is_some(), to);
            }
            Target { kind: TargetKind::Encap, .. } => {
                let next_hop = self.scratch.row.next_hop;
                assert_eq!(next_hop.vni, vni(network), "the name on the wire is the network's");
                let known = [underlay(ELSEWHERE), underlay(FOREIGN)];
                assert!(known.contains(&next_hop.underlay), "sent to a host that is not a member");
                assert!(sent.sender.is_none(), "what comes from the underlay does not go back to it");
            }
            _ => {}
        }
    }

    fn check_delivery(&self, network: NetworkIndex, seen: &Seen, is_error: bool, to: u32) {
        let Some(port) = self.tables.ports.get(&to) else { panic!("delivered to interface {to}, which has no port") };
        assert_eq!(port.network, network, "delivered to another tenant");
        let own = [port.v6.into(), andromede_abi::Address::from_v4_word(port.v4).into()];
        assert!(own.contains(&seen.destination), "delivered to a port that does not have the address");
        let answers = self.answers.contains(&(
            network,
            seen.source,
            seen.destination,
            seen.protocol,
            seen.source_port,
            seen.destination_port,
        ));
        assert!(is_error || oracle::may_reach(seen, self.closed, answers), "no rule lets this in: {seen:?}");
    }
}

/// What the other side would send back.
fn answer(network: NetworkIndex, seen: &Seen) -> Answer {
    (network, seen.destination, seen.source, seen.protocol, seen.destination_port, seen.source_port)
}

/// An inner frame by the fuzzer's choice: honest as a rule, at times with another's address or one byte changed.
fn inner(input: &mut Input<'_>, network: NetworkIndex, holds: u8) -> Vec<u8> {
    let choice = input.byte();
    let v6 = choice & 1 != 0;
    let source_end = if choice & 0x60 == 0x60 { input.one_of(ENDS) } else { holds };
    let source_mac_end = if choice & 0x90 == 0x90 { input.one_of(ENDS) } else { holds };
    let destination_end = input.one_of(ENDS);
    let (kind, protocol, mut upper) = upper(input, v6);
    let (source, destination) = (address(v6, source_end), address(v6, destination_end));
    // An error about a packet that its receiver might have sent.
    if kind & 0x10 != 0 && matches!((protocol, upper[0]), (1, 3) | (58, 1)) {
        let (protocol, quoted) = transport(kind >> 5, v6, input.byte());
        let end = input.one_of(ENDS);
        let about = Inner {
            destination_mac: [0; 6],
            source_mac: [0; 6],
            source: destination,
            destination: address(v6, end),
            protocol,
            upper: quoted,
            part: None,
        };
        upper.extend_from_slice(&about.bytes()[14..]);
    }
    let part = (kind & 0xc0 == 0xc0).then(|| {
        let place = input.byte();
        upper.resize(usize::from(place >> 5) * 8 + 8, 0);
        (u32::from(place & 3), u16::from(place >> 2 & 7), place >> 2 & 7 < 5)
    });
    let frame = Inner {
        destination_mac: mac(network, destination_end),
        source_mac: mac(network, source_mac_end),
        source,
        destination,
        protocol,
        upper,
        part,
    };
    let mut bytes = frame.bytes();
    if choice & 0x0e == 0x0e {
        let at = usize::from(input.byte()) % bytes.len();
        bytes[at] ^= input.byte();
    }
    bytes
}

/// A protocol and its header, and the choice that led there.
fn upper(input: &mut Input<'_>, v6: bool) -> (u8, u8, Vec<u8>) {
    let kind = input.byte();
    let variant = if kind >> 2 & 3 == 2 { 0 } else { input.byte() };
    let (protocol, upper) = transport(kind, v6, variant);
    (kind, protocol, upper)
}

/// The header that a choice and its variant stand for.
fn transport(kind: u8, v6: bool, variant: u8) -> (u8, Vec<u8>) {
    let (source_port, destination_port) = match kind & 3 {
        0 => (40_000, 80),
        1 => (80, 40_000),
        2 => (40_000, 22),
        _ => (40_001, 53),
    };
    let variant = usize::from(variant);
    match kind >> 2 & 3 {
        0 | 1 => (6, tcp(source_port, destination_port, [2, 18, 16, 17, 4, 24][variant % 6])),
        2 => (17, udp(source_port, destination_port)),
        _ if v6 => (58, icmp([128, 129, 135, 1][variant % 4], 7)),
        _ => (1, icmp([8, 0, 3][variant % 3], 7)),
    }
}
