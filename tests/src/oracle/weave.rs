//! Packets between the steps of changes: what passes was permitted by a revision that was in force.
//!
//! While a change is carried out, both the revision before it and the one after it are in force; if the agent begins anew in the
//! middle, and the controller has written more meanwhile, all that were begun since the last that was finished.

use std::{fmt, net::IpAddr};

use andromede_pipeline::memory::Tables;
use andromede_plan::{Rows, Step, changes};
use anyhow::Result;

use super::{
    FOREIGN, GROUPS, HOST, Sender, TENANTS,
    packet::{Packet, Part, What},
    possible::{Possible, Way},
    revision::{HERE, PORTS, Revision},
    rules::{self, LISTS, Rule},
    story::{Went, meet, tables},
};
use crate::twin::{END_VTEP, End, SmallFabric};

/// Ends that talk.
pub const ENDS: [End; 4] = [PORTS[0], PORTS[1], PORTS[2], END_VTEP];
/// The tenant whose network this is about.
const TENANT: usize = 0;

/// Something happens.
#[derive(Clone, PartialEq, Eq)]
pub enum Act {
    /// A packet is sent by whoever has its source, as far as the last revision says.
    Send(Packet),
    /// After the last packet comes another of its conversation.
    Follow(Follow),
    /// A packet is sent from where its source is not: from the host that a port has left, or has yet to come to.
    Stray(Packet),
    /// The controller writes the rules of a group, by its place.
    Rules(usize, Vec<Rule>),
    /// The operator writes his rules for the network.
    Operator(Vec<Rule>),
    /// The controller writes the prefixes of a list, by its place.
    List(usize, Vec<(IpAddr, u8)>),
    /// The controller moves the port of an end to a host.
    Move(End, u8),
    /// The agent carries out so many steps.
    Steps(usize),
    /// The agent ends and begins anew.
    Restart,
}

/// What comes after a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Another from the same side; of TCP with these flags.
    Same(u8),
    /// One from the other side; of TCP with these flags.
    Answer(u8),
    /// If the packet was a part of a datagram: these bytes of it.
    Part(usize, usize),
}

impl Follow {
    /// The packet that follows.
    fn after(self, last: &Packet) -> Packet {
        match self {
            Self::Same(flags) => Packet { what: last.what.with_flags(flags), ..*last },
            Self::Answer(flags) => {
                let what = last.what.reversed().with_flags(flags);
                Packet { from: last.to, to: last.from, what, ..*last }
            }
            Self::Part(start, end) => Packet { part: last.part.map(|part| Part { id: part.id, start, end }), ..*last },
        }
    }
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
    /// What connections may be.
    possible: Possible,
    /// The last packet that was sent.
    last: Option<Packet>,
    /// Source port of a datagram that nobody sent before.
    fresh: u16,
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
        let first = Revision::new(TENANT);
        let mut weave = Self {
            fabric,
            rows: Rows::default(),
            tables: Tables::default(),
            steps: Vec::new(),
            written: first.clone(),
            in_force: vec![first],
            possible: Possible::new(TENANT),
            last: None,
            fresh: 50_000,
        };
        weave.begin()?;
        weave.carry_out(usize::MAX);
        Ok(weave)
    }

    /// Does what happens; why it may not, if it broke the promise.
    pub fn act(&mut self, act: &Act) -> Result<Result<(), String>> {
        let tenant = TENANTS[TENANT];
        match act {
            Act::Send(packet) => return Ok(self.send(packet, self.sender(packet))),
            Act::Follow(follow) => {
                let next = self.last.map(|last| follow.after(&last));
                return Ok(next.map_or(Ok(()), |packet| self.send(&packet, self.sender(&packet))));
            }
            Act::Stray(packet) => return Ok(self.send(packet, self.elsewhere(packet))),
            Act::Rules(group, rules) => {
                self.fabric.set_group(tenant, GROUPS[*group], &rules::documents(tenant, rules))?;
                self.written.rules[*group].clone_from(rules);
            }
            Act::Operator(rules) => {
                self.fabric.set(vec![rules::operator_document(tenant, rules)])?;
                self.written.operator.clone_from(rules);
            }
            Act::List(place, prefixes) => {
                self.fabric.set(vec![rules::list_document(tenant, *place, prefixes)])?;
                self.written.lists[*place].clone_from(prefixes);
            }
            Act::Move(end, host) => {
                self.fabric.set_host(tenant, *end, *host)?;
                self.written.hosts[PORTS.iter().position(|one| one == end).unwrap_or(0)] = *host;
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
                let expected = from != to && revision.permitted(&packet, false, None).is_ok();
                let found = !matches!(self.meet(&packet, self.sender(&packet)), Went::Dropped(_));
                if expected != found {
                    return Ok(Err(format!("in the end {packet}: permitted {expected}, passed {found}")));
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
        match self.written.host(packet.from) {
            HERE => Sender::Workload(packet.from),
            host => Sender::Host(host),
        }
    }

    fn elsewhere(&self, packet: &Packet) -> Sender {
        match self.written.host(packet.from) {
            HERE => Sender::Host(HOST),
            host if host == FOREIGN[TENANT] => Sender::Host(HOST),
            _ => Sender::Workload(packet.from),
        }
    }

    fn meet(&self, packet: &Packet, sender: Sender) -> Went {
        meet(&self.fabric.host_config(), &self.tables, 1_000_000_000, (TENANT, sender), packet.frame())
    }

    fn send(&mut self, packet: &Packet, sender: Sender) -> Result<(), String> {
        self.last = Some(*packet);
        let is_at_rest = self.in_force.len() == 1;
        let must_pass =
            is_at_rest && packet.part.is_none() && self.possible.must_pass(packet, sender, &self.in_force[0]);
        let went = match self.meet(packet, sender) {
            Went::Dropped(reason) if !self.possible.dropped(packet, reason, &self.in_force) => {
                return Err(format!(
                    "{packet} of {sender:?}: its connection was cut, which no revision in force asks for"
                ));
            }
            Went::Dropped(reason) if must_pass => {
                return Err(format!("{packet} of {sender:?}: dropped for {}, though it is permitted", reason.name()));
            }
            Went::Dropped(_) => return Ok(()),
            Went::Here(end) if end == packet.to => HERE,
            Went::Here(end) => return Err(format!("{packet} of {sender:?} was delivered to {end:?}")),
            Went::Host(host) => host,
        };
        if self.possible.passed(packet, Way { sender, went }, &self.in_force) {
            return Ok(());
        }
        Err(format!("{packet} of {sender:?} passed to host {went}, which no revision in force permits"))
    }
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(packet) => write!(f, "{packet}"),
            Self::Follow(follow) => write!(f, "{follow:?}"),
            Self::Stray(packet) => write!(f, "from elsewhere: {packet}"),
            Self::Rules(group, rules) => write!(f, "{} have the rules {rules:?}", GROUPS[*group]),
            Self::Operator(rules) => write!(f, "the operator has the rules {rules:?}"),
            Self::List(place, prefixes) => write!(f, "the list {} is {prefixes:?}", LISTS[*place].0),
            Self::Move(end, host) => write!(f, "the port of {} moves to host {host}", end.0),
            Self::Steps(count) => write!(f, "the agent takes {count} steps"),
            Self::Restart => f.write_str("the agent begins anew"),
        }
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(flags) => write!(f, "another from the same side (TCP: flags {flags})"),
            Self::Answer(flags) => write!(f, "another from the other side (TCP: flags {flags})"),
            Self::Part(start, end) => write!(f, "bytes {start} to {end} of the same datagram"),
        }
    }
}
