//! Packets between the steps of changes: what passes was permitted by a revision that was in force.
//!
//! While a change is carried out, both the revision before it and the one after it are in force; if the agent begins anew in the
//! middle, and the controller has written more meanwhile, all that were begun since the last that was finished.

use std::{collections::BTreeSet, fmt};

use andromede_model::Direction;
use andromede_pipeline::memory::Tables;
use andromede_plan::{Rows, Step, changes};
use anyhow::Result;

use super::{
    GROUPS, HOST, Sender, TENANTS, is_here,
    packet::{Packet, What},
    rules::{self, Answer, Question, Rule},
    story::{Went, meet, tables},
};
use crate::twin::{END_LOCAL_A, END_LOCAL_B, END_REMOTE, End, SmallFabric};

/// Ends whose ports move.
pub const ENDS: [End; 3] = [END_LOCAL_A, END_LOCAL_B, END_REMOTE];
/// The tenant whose network this is about.
const TENANT: usize = 0;
/// This host.
const HERE: u8 = 1;

/// Something happens.
#[derive(Clone, PartialEq, Eq)]
pub enum Act {
    /// A packet is sent by whoever has its source, as far as the last revision says.
    Send(Packet),
    /// The controller writes the rules of a group, by its place.
    Rules(usize, Vec<Rule>),
    /// The controller moves the port of an end to a host.
    Move(End, u8),
    /// The agent carries out so many steps.
    Steps(usize),
    /// The agent ends and begins anew.
    Restart,
}

/// What a revision says.
#[derive(Clone)]
struct Revision {
    rules: [Vec<Rule>; 2],
    hosts: [u8; 3],
}

/// The host, its agent, and what both have seen.
pub struct Weave {
    fabric: SmallFabric,
    rows: Rows,
    tables: Tables,
    /// Steps that are left of the change that is carried out.
    steps: Vec<Step>,
    /// What the controller wrote last.
    written: Revision,
    /// Revisions in force; the last is the one that the steps lead to.
    in_force: Vec<Revision>,
    /// Packets that passed.
    passed: BTreeSet<Key>,
    /// Source port of a datagram that nobody sent before.
    fresh: u16,
}

/// A packet's connection, and which way it goes.
type Key = (bool, u8, u8, u8, u16, u16);

fn key(packet: &Packet) -> Key {
    let (source, destination) = match packet.what {
        What::Tcp { source, destination, .. } | What::Udp { source, destination } => (source, destination),
        _ => (0, 0),
    };
    (packet.v6, packet.protocol(), packet.from.0, packet.to.0, source, destination)
}

fn reversed(packet: &Packet) -> Packet {
    let what = match packet.what {
        What::Tcp { source, destination, flags, data } => {
            What::Tcp { source: destination, destination: source, flags, data }
        }
        What::Udp { source, destination } => What::Udp { source: destination, destination: source },
        other => other,
    };
    Packet { from: packet.to, to: packet.from, what, ..*packet }
}

fn opens(packet: &Packet) -> bool {
    !matches!(packet.what, What::Tcp { flags, .. } if flags & 0x12 != 2)
}

impl Revision {
    fn host(&self, end: End) -> u8 {
        ENDS.iter().position(|one| *one == end).map_or(0, |place| self.hosts[place])
    }

    fn has(&self, end: End) -> bool {
        self.host(end) == HERE
    }

    /// Is the packet's source where it was sent, and its destination where it went?
    fn is_where(&self, packet: &Packet, sender: Sender, went: u8) -> bool {
        let source = match sender {
            Sender::Workload(_) => HERE,
            Sender::Host(host) => host,
        };
        self.host(packet.from) == source && self.host(packet.to) == went
    }

    /// Do the rules of those ends that are here permit a connection that this packet opens?
    fn permits(&self, opening: &Packet) -> bool {
        let ask = |direction: Direction, port: End, other: End| {
            let question = Question {
                ingress: direction == Direction::Ingress,
                protocol: opening.protocol(),
                service: Some(opening.service()),
                remote: if opening.v6 { other.v6().into() } else { other.v4().into() },
                remote_groups: super::groups(other),
            };
            let rules = super::groups(port).iter().flat_map(|group| &self.rules[*group]);
            match rules::decide(rules, &question) {
                Answer::By(allow, _) => allow,
                Answer::Default => direction == Direction::Egress,
            }
        };
        (!self.has(opening.from) || ask(Direction::Egress, opening.from, opening.to))
            && (!self.has(opening.to) || ask(Direction::Ingress, opening.to, opening.from))
    }
}

impl Weave {
    /// A host whose ports have no rules.
    pub fn new() -> Result<Self> {
        let mut fabric = SmallFabric::new()?;
        fabric.attach_everything()?;
        fabric.set(rules::lists(TENANTS[TENANT]))?;
        for group in GROUPS {
            fabric.set_group(TENANTS[TENANT], group, &[])?;
        }
        let first =
            Revision { rules: Default::default(), hosts: ENDS.map(|end| if is_here(end) { HERE } else { HOST }) };
        let mut weave = Self {
            fabric,
            rows: Rows::default(),
            tables: Tables::default(),
            steps: Vec::new(),
            written: first.clone(),
            in_force: vec![first],
            passed: BTreeSet::new(),
            fresh: 50_000,
        };
        weave.begin()?;
        weave.carry_out(usize::MAX);
        Ok(weave)
    }

    /// Does what happens; why it may not, if it broke the promise.
    pub fn act(&mut self, act: &Act) -> Result<Result<(), String>> {
        match act {
            Act::Send(packet) => return Ok(self.send(packet)),
            Act::Rules(group, rules) => {
                let documents: Vec<_> =
                    (0..).zip(rules).map(|(place, rule)| rule.document(place, TENANTS[TENANT])).collect();
                self.fabric.set_group(TENANTS[TENANT], GROUPS[*group], &documents)?;
                self.written.rules[*group].clone_from(rules);
            }
            Act::Move(end, host) => {
                self.fabric.set_host(TENANTS[TENANT], *end, *host)?;
                self.written.hosts[ENDS.iter().position(|one| one == end).unwrap_or(0)] = *host;
            }
            Act::Steps(count) => {
                if self.steps.is_empty() {
                    self.begin()?;
                }
                self.carry_out(*count);
            }
            Act::Restart => self.begin()?,
        }
        Ok(Ok(()))
    }

    /// Carries out what is left, and tries what the last revision permits.
    pub fn settle(&mut self) -> Result<Result<(), String>> {
        self.carry_out(usize::MAX);
        self.begin()?;
        self.carry_out(usize::MAX);
        for (from, to) in ENDS.into_iter().flat_map(|from| ENDS.map(|to| (from, to))) {
            for (v6, destination) in
                [false, true].into_iter().flat_map(|v6| [53, 80, 443, 8_040].map(|port| (v6, port)))
            {
                self.fresh += 1;
                let what = What::Udp { source: self.fresh, destination };
                let packet = Packet { v6, from, to, what, part: None };
                let revision = &self.written;
                let touches = revision.has(from) || revision.has(to);
                let expected = from != to && touches && revision.permits(&packet);
                let found = !matches!(self.meet(&packet), Went::Dropped(_));
                if expected != found {
                    return Ok(Err(format!("in the end {packet:?}: permitted {expected}, passed {found}")));
                }
            }
        }
        Ok(Ok(()))
    }

    /// The agent compares what it finds with what was written last.
    fn begin(&mut self) -> Result<()> {
        self.steps = changes(&self.rows, &self.fabric.wanted(&self.rows)?);
        self.in_force.push(self.written.clone());
        Ok(())
    }

    fn carry_out(&mut self, count: usize) {
        for step in self.steps.drain(..count.min(self.steps.len())) {
            self.rows.apply(&step);
        }
        if self.steps.is_empty() {
            self.in_force.drain(..self.in_force.len() - 1);
        }
        self.tables = tables(&self.rows, &self.tables);
    }

    fn sender(&self, packet: &Packet) -> Sender {
        if self.written.has(packet.from) { Sender::Workload(packet.from) } else { Sender::Host(HOST) }
    }

    fn meet(&self, packet: &Packet) -> Went {
        meet(&self.fabric.host_config(), &self.tables, 1_000_000_000, (TENANT, self.sender(packet)), packet)
    }

    fn send(&mut self, packet: &Packet) -> Result<(), String> {
        let sender = self.sender(packet);
        let went = match self.meet(packet) {
            Went::Dropped(_) => return Ok(()),
            Went::Here(end) if end == packet.to => HERE,
            Went::Here(end) => return Err(format!("{packet:?} of {sender:?} was delivered to {end:?}")),
            Went::Host(host) => host,
        };
        let known = |packet: &Packet| self.passed.contains(&key(packet));
        let mut openings = Vec::new();
        if opens(packet) || known(packet) {
            openings.push(*packet);
        }
        if known(&reversed(packet)) {
            openings.push(reversed(packet));
        }
        let permitted = self.in_force.iter().any(|revision| {
            revision.is_where(packet, sender, went) && openings.iter().any(|opening| revision.permits(opening))
        });
        if !permitted {
            return Err(format!("{packet:?} of {sender:?} passed to host {went}"));
        }
        self.passed.insert(key(packet));
        Ok(())
    }
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(packet) => {
                let family = if packet.v6 { 6 } else { 4 };
                write!(f, "IPv{family} {} > {} {:?}", packet.from.0, packet.to.0, packet.what)
            }
            Self::Rules(group, rules) => write!(f, "{} have the rules {rules:?}", GROUPS[*group]),
            Self::Move(end, host) => write!(f, "the port of {} moves to host {host}", end.0),
            Self::Steps(count) => write!(f, "the agent takes {count} steps"),
            Self::Restart => f.write_str("the agent begins anew"),
        }
    }
}
