//! What the packet path should do, said another way: rules that are scanned, connections in a list, datagrams in pieces by their
//! names. It is written from the documents ([docs/connections.md], [docs/fragments.md], ARCHITECTURE.md) and knows packets as somebody
//! means them, not as bytes.

mod connection;
pub mod packet;
pub mod rules;
mod story;
mod traffic;
pub mod weave;

use std::collections::BTreeMap;

use andromede_abi::{Address, Datagram, DropReason, FragmentKey, fragment_way};

use self::{
    connection::{Connection, Keeps, Says},
    packet::{Packet, What},
    rules::{Answer, GROUPS, Question, Rule},
};
pub use self::{
    story::{Fates, Story},
    traffic::Traffic,
};
use crate::twin::{END_LOCAL_A, END_LOCAL_B, END_REMOTE, END_VTEP, End};

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
    /// Seconds pass.
    Wait(u64),
    /// A group of a tenant, by its place, has these rules from now on.
    Rules(usize, usize, Vec<Rule>),
    /// The operator has these rules for the network of a tenant from now on.
    Operator(usize, Vec<Rule>),
}

/// What should become of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It reaches this end: here, or towards the host that has it.
    Reaches(End),
    /// It is dropped, for one of these reasons.
    Drops(Vec<DropReason>),
}

impl Fate {
    fn drops(reason: DropReason) -> Self {
        Self::Drops(vec![reason])
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
#[derive(Default)]
pub struct Oracle {
    now: u64,
    rules: [[Vec<Rule>; 2]; 2],
    operator: [Vec<Rule>; 2],
    connections: Vec<Connection>,
    /// By the places of docs/fragments.md, which are the one thing that is asked of the packet path's own code.
    pieces: BTreeMap<FragmentKey, Pieces>,
}

/// Groups of an end, by their places.
const fn groups(end: End) -> &'static [usize] {
    match end {
        END_LOCAL_A => &[0],
        END_LOCAL_B => &[1],
        END_REMOTE => &[0, 1],
        _ => &[],
    }
}

const fn is_here(end: End) -> bool {
    matches!(end, END_LOCAL_A | END_LOCAL_B)
}

impl Oracle {
    /// Rules of a group from now on.
    pub fn set_rules(&mut self, tenant: usize, group: usize, rules: &[Rule]) {
        rules.clone_into(&mut self.rules[tenant][group]);
    }

    /// Rules of the operator from now on.
    pub fn set_operator(&mut self, tenant: usize, rules: &[Rule]) {
        rules.clone_into(&mut self.operator[tenant]);
    }

    /// Time passes.
    pub fn wait(&mut self, seconds: u64) {
        self.now += seconds;
        let now = self.now;
        self.connections.retain(|connection| !connection.is_over(now));
    }

    /// What becomes of a packet.
    pub fn send(&mut self, tenant: usize, sender: Sender, packet: &Packet) -> Fate {
        if let Err(reason) = guard(tenant, sender, packet) {
            return Fate::drops(reason);
        }
        if packet.from == packet.to {
            return Fate::drops(DropReason::Loop);
        }
        if packet.part.is_some() { self.piece(tenant, sender, packet) } else { self.whole(tenant, sender, packet) }
    }

    /// A packet whose ports are known.
    fn whole(&mut self, tenant: usize, sender: Sender, packet: &Packet) -> Fate {
        let own = |connection: &Connection| connection.has(tenant, packet);
        let found = (0..self.connections.len()).find_map(|at| own(&self.connections[at]).map(|forward| (at, forward)));
        let Some((at, forward)) = found else { return self.open(tenant, sender, packet, None) };
        let connection = self.connections[at];
        match connection.says(packet, forward, self.now) {
            Says::Over => self.open(tenant, sender, packet, Some(at)),
            Says::Drops(reason) => {
                if reason == DropReason::ConnectionCut {
                    self.connections[at].attempted(self.now);
                    return Fate::drops(reason);
                }
                // Which of them is told is nobody's promise.
                let mut reasons = vec![reason];
                reasons.extend(holds(tenant, sender, packet.from).err());
                Fate::Drops(reasons)
            }
            Says::Passes(next) => {
                if let Err(reason) = holds(tenant, sender, packet.from) {
                    return Fate::drops(reason);
                }
                if self.permitted(tenant, &connection.opening, false, Some(connection.keeps)).is_err() {
                    let connection = &mut self.connections[at];
                    connection.cut = true;
                    connection.attempted(self.now);
                    return Fate::drops(DropReason::ConnectionCut);
                }
                self.connections[at] = next;
                Fate::Reaches(packet.to)
            }
        }
    }

    /// A packet of no connection, which perhaps takes the place of one.
    fn open(&mut self, tenant: usize, sender: Sender, packet: &Packet, instead: Option<usize>) -> Fate {
        let guarded = holds(tenant, sender, packet.from);
        if let Err(reason) = connection::opens(packet) {
            return Fate::Drops([reason].into_iter().chain(guarded.err()).collect());
        }
        let keeps = match guarded.and_then(|()| self.permitted(tenant, packet, false, None)) {
            Ok(keeps) => keeps,
            Err(reason) => return Fate::drops(reason),
        };
        let connection = Connection::new(tenant, packet, keeps, self.now);
        match instead {
            Some(at) => self.connections[at] = connection,
            None => self.connections.push(connection),
        }
        Fate::Reaches(packet.to)
    }

    /// Do the rules permit a connection that this packet opens? `headless`: its ports are not known. `known`: it lives, and these sides keep
    /// it. What is given back is which sides keep it if it is opened now.
    fn permitted(
        &self,
        tenant: usize,
        packet: &Packet,
        headless: bool,
        known: Option<Keeps>,
    ) -> Result<Keeps, DropReason> {
        match packet.to {
            ROUTER => return Err(DropReason::NoService),
            NOBODY => return Err(DropReason::UnknownDestination),
            to if !is_here(to) && !is_here(packet.from) => return Err(DropReason::NotHere),
            _ => {}
        }
        let ask = |ingress: bool, port: End, other: End, is_kept: Option<bool>| {
            let question = Question {
                ingress,
                protocol: packet.protocol(),
                service: (!headless).then(|| packet.service()),
                remote: if packet.v6 { other.v6().into() } else { other.v4().into() },
                remote_groups: groups(other),
            };
            let own = groups(port).iter().flat_map(|group| &self.rules[tenant][*group]);
            let answer = match rules::decide(self.operator[tenant].iter(), &question) {
                Answer::Default => rules::decide(own, &question),
                decided @ Answer::By(..) => decided,
            };
            match answer {
                Answer::By(true, keep) => Some(keep),
                Answer::By(false, keep) => (is_kept.is_some() && keep).then_some(false),
                Answer::Default => (!ingress || is_kept == Some(true)).then_some(false),
            }
        };
        let mut keeps = (false, false);
        if is_here(packet.from) {
            let kept = ask(false, packet.from, packet.to, known.map(|keeps| keeps.0));
            keeps.0 = kept.ok_or(DropReason::EgressRule)?;
        }
        if is_here(packet.to) {
            let kept = ask(true, packet.to, packet.from, known.map(|keeps| keeps.1));
            keeps.1 = kept.ok_or(DropReason::IngressRule)?;
        }
        Ok(keeps)
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
        let permitted = holds(tenant, sender, packet.from).and_then(|()| self.permitted(tenant, packet, true, None));
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
fn guard(tenant: usize, sender: Sender, packet: &Packet) -> Result<(), DropReason> {
    match sender {
        Sender::Workload(end) if end == packet.from => Ok(()),
        // The frame has the Ethernet address of whom it claims to be.
        Sender::Workload(_) => Err(DropReason::SpoofedMac),
        Sender::Host(host) if host == HOST || host == FOREIGN[tenant] => Ok(()),
        Sender::Host(_) => Err(DropReason::UnknownSender),
    }
}

/// Is the source where the sender is?
fn holds(tenant: usize, sender: Sender, from: End) -> Result<(), DropReason> {
    let holder = match sender {
        Sender::Workload(_) => true,
        Sender::Host(host) => (host == HOST && from == END_REMOTE) || (host == FOREIGN[tenant] && from == END_VTEP),
    };
    if holder { Ok(()) } else { Err(DropReason::SenderNotHolder) }
}

/// The place of a datagram: of the workload that sends it, or of the port here that receives it.
fn place(tenant: usize, sender: Sender, packet: &Packet, identification: u32) -> Option<FragmentKey> {
    let address = |end: End| -> Address { if packet.v6 { end.v6().into() } else { end.v4().into() } };
    let (port, way) = match sender {
        Sender::Workload(end) => (end, fragment_way::SENT),
        Sender::Host(_) => (packet.to, fragment_way::RECEIVED),
    };
    let datagram = Datagram {
        network: crate::twin::talk::NETWORK[tenant],
        source: &address(packet.from),
        destination: &address(packet.to),
        identification,
        protocol: if packet.v6 { 0 } else { packet.protocol() },
    };
    // Any number that is the port's own will do for its slot.
    is_here(port).then(|| datagram.key(tenant as u32 * 256 + u32::from(port.0), way))
}

/// Names of the tenants, by their places.
pub const TENANTS: [&str; 2] = ["red", "blue"];
const _: () = assert!(GROUPS.len() == 2);
