//! What the packet path should do, said another way: rules that are scanned, connections in a list, datagrams in pieces by their
//! names. It is written from the documents ([docs/connections.md], [docs/fragments.md], ARCHITECTURE.md) and knows packets as somebody
//! means them, not as bytes.

mod connection;
pub mod packet;
mod possible;
mod revision;
pub mod rules;
mod story;
mod traffic;
pub mod weave;

use std::{collections::BTreeMap, net::IpAddr};

use andromede_abi::{Address, Datagram, DropReason, FragmentKey, fragment_way};

use self::{
    connection::Connection,
    packet::{Complaint, Packet, What},
    revision::{Judged, Revision, address},
    rules::{GROUPS, Rule},
};
pub use self::{
    revision::PORTS,
    story::{Fates, Story, tables},
    traffic::Traffic,
};
use crate::twin::{END_LOCAL_A, END_LOCAL_B, END_VTEP, End};

/// The router of a network.
pub const ROUTER: End = End(254);
/// An address that nobody has.
pub const NOBODY: End = End(77);
/// The host of the remote port, by the last byte of its address.
pub const HOST: u8 = 2;
/// The foreign tunnel endpoint of each tenant, likewise.
pub const FOREIGN: [u8; 2] = [9, 8];
/// A host that is no member of any network.
pub const STRANGER: u8 = 7;
/// Seconds for which a datagram in pieces is remembered.
const DATAGRAM_LIFETIME: u64 = 15;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The workload of this end.
    Workload(End),
    /// A host on the underlay, by the last byte of its address.
    Host(u8),
}

/// Something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A packet is sent in the network of a tenant.
    Send(usize, Sender, Packet),
    /// An ICMP error is sent in the network of a tenant.
    Complain(usize, Sender, Complaint),
    /// Seconds pass.
    Wait(u64),
    /// A group of a tenant, by its place, has these rules from now on.
    Rules(usize, usize, Vec<Rule>),
    /// The operator has these rules for the network of a tenant from now on.
    Operator(usize, Vec<Rule>),
    /// A list of a tenant, by its place, has these prefixes from now on.
    List(usize, usize, Vec<(IpAddr, u8)>),
}

/// What should become of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It reaches this end: here, or towards the host that has it.
    Reaches(End),
    /// It is dropped, for one of these reasons.
    Drops(Vec<DropReason>),
    /// It reaches this end or is dropped for this reason: nobody promises which.
    Perhaps(End, DropReason),
}

impl Fate {
    fn drops(reason: DropReason) -> Self {
        Self::Drops(vec![reason])
    }

    /// May this be found where the oracle says `self`?
    fn admits(&self, found: &Self) -> bool {
        match (self, found) {
            (Self::Drops(reasons), Self::Drops(found)) => found.iter().all(|reason| reasons.contains(reason)),
            (Self::Perhaps(end, _), Self::Reaches(found)) => end == found,
            (Self::Perhaps(_, reason), Self::Drops(found)) => found.iter().all(|found| found == reason),
            _ => self == found,
        }
    }
}

/// What is known of a datagram in pieces.
#[derive(Clone, Debug)]
struct Pieces {
    name: (usize, bool, End, End, u32, u8),
    seen: u64,
    /// What the first one said, and where it ended.
    first: Option<(What, usize)>,
    /// Where the lowest began of those that came before it.
    lowest: usize,
}

/// The oracle: what one host knows.
pub struct Oracle {
    now: u64,
    revisions: [Revision; 2],
    /// How often the rules of each tenant changed.
    changes: [u64; 2],
    connections: Vec<Connection>,
    /// By the places of docs/fragments.md, which are the one thing that is asked of the packet path's own code.
    pieces: BTreeMap<FragmentKey, Pieces>,
}

impl Default for Oracle {
    fn default() -> Self {
        let revisions = [Revision::new(0), Revision::new(1)];
        Self { now: 0, revisions, changes: [0; 2], connections: Vec::new(), pieces: BTreeMap::new() }
    }
}

impl Oracle {
    /// Rules of a group from now on.
    pub fn set_rules(&mut self, tenant: usize, group: usize, rules: &[Rule]) {
        rules.clone_into(&mut self.revisions[tenant].rules[group]);
        self.changes[tenant] += 1;
    }

    /// Rules of the operator from now on.
    pub fn set_operator(&mut self, tenant: usize, rules: &[Rule]) {
        rules.clone_into(&mut self.revisions[tenant].operator);
        self.changes[tenant] += 1;
    }

    /// Prefixes of a list from now on.
    pub fn set_list(&mut self, tenant: usize, place: usize, prefixes: &[(IpAddr, u8)]) {
        prefixes.clone_into(&mut self.revisions[tenant].lists[place]);
        self.changes[tenant] += 1;
    }

    /// Time passes.
    pub fn wait(&mut self, seconds: u64) {
        self.now += seconds;
        let now = self.now;
        self.connections.retain(|connection| !connection.is_over(now));
    }

    /// What becomes of a packet.
    pub fn send(&mut self, tenant: usize, sender: Sender, packet: &Packet) -> Fate {
        if let Err(reason) = guard(tenant, sender, packet.from) {
            return Fate::drops(reason);
        }
        if packet.from == packet.to {
            return Fate::drops(DropReason::Loop);
        }
        if packet.part.is_some() { self.piece(tenant, sender, packet) } else { self.whole(tenant, sender, packet) }
    }

    /// A packet whose ports are known.
    fn whole(&mut self, tenant: usize, sender: Sender, packet: &Packet) -> Fate {
        let found = self.connections.iter().position(|connection| connection.has(tenant, packet).is_some());
        let known = found.map(|at| self.connections[at]);
        let holds = self.holds(tenant, sender, packet.from);
        match (self.revisions[tenant].judge(known.as_ref(), packet, self.now), holds, found) {
            (Judged::WasCut, _, Some(at)) => {
                self.connections[at].attempted(self.now);
                Fate::drops(DropReason::ConnectionCut)
            }
            (Judged::WasCut, _, None) => Fate::drops(DropReason::ConnectionCut),
            // Which of them is told is nobody's promise.
            (Judged::Unfit(reason), holds, _) => Fate::Drops([reason].into_iter().chain(holds.err()).collect()),
            (_, Err(reason), _) | (Judged::Refused(reason), ..) => Fate::drops(reason),
            (Judged::Cuts, ..) => {
                if let Some(at) = found {
                    self.connections[at] = self.connections[at].after_cut();
                    self.connections[at].attempted(self.now);
                }
                Fate::drops(DropReason::ConnectionCut)
            }
            (Judged::Passes(next), ..) => {
                let mut next = next;
                next.judged = self.changes[tenant];
                match found {
                    Some(at) => self.connections[at] = next,
                    None => self.connections.push(next),
                }
                Fate::Reaches(packet.to)
            }
        }
    }

    /// What becomes of an ICMP error.
    pub fn complain(&self, tenant: usize, sender: Sender, complaint: &Complaint) -> Fate {
        let Complaint { from, to, ref about, .. } = *complaint;
        if let Err(reason) = guard(tenant, sender, from) {
            return Fate::drops(reason);
        }
        if from == to {
            return Fate::drops(DropReason::Loop);
        }
        if about.part.is_some_and(|part| part.start > 0) {
            return Fate::drops(DropReason::BadIcmpError);
        }
        if let Err(reason) = self.holds(tenant, sender, from) {
            return Fate::drops(reason);
        }
        let unrelated = DropReason::UnrelatedIcmpError;
        let is_on_the_way = from == about.to || from == END_VTEP;
        let known =
            self.connections.iter().find(|connection| connection.has(tenant, about).is_some() && !connection.cut);
        let Some(connection) = known.filter(|_| is_on_the_way && to == about.from) else {
            return Fate::drops(unrelated);
        };
        let revision = &self.revisions[tenant];
        let is_certain = connection.judged == self.changes[tenant];
        let is_permitted = revision.permitted(&connection.opening, false, Some(connection.keeps)).is_ok();
        match sender {
            _ if !is_certain && !is_permitted => Fate::drops(unrelated),
            Sender::Host(_) if !revision.is_here(to) => Fate::Drops(vec![DropReason::NotHere, unrelated]),
            _ if is_certain => Fate::Reaches(to),
            _ => Fate::Perhaps(to, unrelated),
        }
    }

    /// Is the source where the sender is?
    fn holds(&self, tenant: usize, sender: Sender, from: End) -> Result<(), DropReason> {
        let holder = self.revisions[tenant].holds(sender, from);
        if holder { Ok(()) } else { Err(DropReason::SenderNotHolder) }
    }

    /// A packet that is a part of its datagram.
    fn piece(&mut self, tenant: usize, sender: Sender, packet: &Packet) -> Fate {
        let Some(part) = packet.part else { return Fate::drops(DropReason::BadFragment) };
        let key = place(tenant, sender, packet, part.id);
        let protocol = if packet.v6 { 0 } else { packet.protocol() };
        let name = (tenant, packet.v6, packet.from, packet.to, part.id, protocol);
        let alive = |pieces: &&Pieces| pieces.name == name && self.now - pieces.seen <= DATAGRAM_LIFETIME;
        let known = key.and_then(|key| self.pieces.get(&key)).filter(alive).cloned();
        let unknown = Pieces { name, seen: self.now, first: None, lowest: usize::MAX };
        let mut pieces = known.unwrap_or(unknown);
        if part.start == 0 {
            if pieces.first.is_some() || pieces.lowest < part.end {
                return Fate::drops(DropReason::FragmentOverlap);
            }
            let fate = self.whole(tenant, sender, packet);
            if matches!(fate, Fate::Reaches(_)) {
                (pieces.first, pieces.seen) = (Some((packet.what, part.end)), self.now);
                self.pieces.extend(key.map(|key| (key, pieces)));
            }
            return fate;
        }
        if let Some((what, end)) = pieces.first {
            if part.start < end {
                return Fate::drops(DropReason::FragmentOverlap);
            }
            return self.whole(tenant, sender, &Packet { what, ..*packet });
        }
        let revision = &self.revisions[tenant];
        let permitted = self.holds(tenant, sender, packet.from).and_then(|()| revision.permitted(packet, true, None));
        match permitted {
            Err(DropReason::EgressRule | DropReason::IngressRule) => Fate::drops(DropReason::Fragment),
            Err(reason) => Fate::drops(reason),
            Ok(_) => {
                if part.start < pieces.lowest {
                    (pieces.lowest, pieces.seen) = (part.start, self.now);
                    self.pieces.extend(key.map(|key| (key, pieces)));
                }
                Fate::Reaches(packet.to)
            }
        }
    }
}

/// May the sender send at all, and a workload from this address?
fn guard(tenant: usize, sender: Sender, from: End) -> Result<(), DropReason> {
    match sender {
        Sender::Workload(end) if end == from => Ok(()),
        // The frame has the Ethernet address of whom it claims to be.
        Sender::Workload(_) => Err(DropReason::SpoofedMac),
        Sender::Host(host) if host == HOST || host == FOREIGN[tenant] => Ok(()),
        Sender::Host(_) => Err(DropReason::UnknownSender),
    }
}

/// The place of a datagram: of the workload that sends it, or of the port here that receives it.
fn place(tenant: usize, sender: Sender, packet: &Packet, identification: u32) -> Option<FragmentKey> {
    let (port, way) = match sender {
        Sender::Workload(end) => (end, fragment_way::SENT),
        Sender::Host(_) => (packet.to, fragment_way::RECEIVED),
    };
    let datagram = Datagram {
        network: crate::twin::talk::NETWORK[tenant],
        source: &Address::from(address(packet.v6, packet.from)),
        destination: &Address::from(address(packet.v6, packet.to)),
        identification,
        protocol: if packet.v6 { 0 } else { packet.protocol() },
    };
    // Any number that is the port's own will do for its slot.
    matches!(port, END_LOCAL_A | END_LOCAL_B).then(|| datagram.key(tenant as u32 * 256 + u32::from(port.0), way))
}

/// Names of the tenants, by their places.
pub const TENANTS: [&str; 2] = ["red", "blue"];
const _: () = assert!(GROUPS.len() == 2);
