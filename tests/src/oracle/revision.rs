//! What was written for a network, and what it means for a packet.

use std::net::IpAddr;

use andromede_abi::DropReason;

use super::{
    FOREIGN, HOST, NOBODY, ROUTER, Sender,
    connection::{self, Connection, Keeps, Says},
    packet::Packet,
    rules::{self, Answer, LISTS, Lists, Question, Rule},
};
use crate::twin::{END_LOCAL_A, END_LOCAL_B, END_REMOTE, End};

/// This host, by the last byte of its address.
pub(super) const HERE: u8 = 1;
/// Ends that are ports, and may move.
pub const PORTS: [End; 3] = [END_LOCAL_A, END_LOCAL_B, END_REMOTE];

/// Rules and places of one network.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    tenant: usize,
    /// Of each group.
    pub(super) rules: [Vec<Rule>; 2],
    /// Of the operator.
    pub(super) operator: Vec<Rule>,
    /// The prefixes of each list.
    pub(super) lists: Lists,
    /// The host of each of [`PORTS`].
    pub(super) hosts: [u8; 3],
}

/// What becomes of a packet by its connection, or of none.
pub(super) enum Judged {
    /// It passes, and then this is the connection.
    Passes(Connection),
    /// It fits no state of its connection, or has none.
    Unfit(DropReason),
    /// Rules or places refuse it; there was no connection.
    Refused(DropReason),
    /// Rules refuse its connection from now on.
    Cuts,
    /// Its connection was cut before.
    WasCut,
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

impl Revision {
    /// No rules; two ports here, and one on another host.
    pub(super) fn new(tenant: usize) -> Self {
        let lists = LISTS.map(|(_, prefixes)| prefixes.to_vec());
        Self { tenant, rules: Default::default(), operator: Vec::new(), lists, hosts: [HERE, HERE, HOST] }
    }

    /// The host that an end is on, or the foreign tunnel endpoint that it is behind.
    pub(super) fn host(&self, end: End) -> u8 {
        PORTS.iter().position(|port| *port == end).map_or(FOREIGN[self.tenant], |place| self.hosts[place])
    }

    /// Is the end a port of this host?
    pub(super) fn is_here(&self, end: End) -> bool {
        self.host(end) == HERE
    }

    /// Is the source where the sender is?
    pub(super) fn holds(&self, sender: Sender, from: End) -> bool {
        match sender {
            Sender::Workload(_) => self.is_here(from),
            Sender::Host(host) => ![ROUTER, NOBODY].contains(&from) && self.host(from) == host,
        }
    }

    /// Do the rules permit a connection that this packet opens? `headless`: its ports are not known. `known`: it lives, and these sides keep
    /// it. What is given back is which sides keep it if it is opened now.
    pub(super) fn permitted(&self, packet: &Packet, headless: bool, known: Option<Keeps>) -> Result<Keeps, DropReason> {
        match packet.to {
            ROUTER => return Err(DropReason::NoService),
            NOBODY => return Err(DropReason::UnknownDestination),
            to if !self.is_here(to) && !self.is_here(packet.from) => return Err(DropReason::NotHere),
            _ => {}
        }
        let ask = |ingress: bool, port: End, other: End, is_kept: Option<bool>| {
            let question = Question {
                ingress,
                protocol: packet.protocol(),
                service: (!headless).then(|| packet.service()),
                remote: address(packet.v6, other),
                remote_groups: groups(other),
                lists: &self.lists,
            };
            let own = groups(port).iter().flat_map(|group| &self.rules[*group]);
            let answer = match rules::decide(self.operator.iter(), &question) {
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
        if self.is_here(packet.from) {
            let kept = ask(false, packet.from, packet.to, known.map(|keeps| keeps.0));
            keeps.0 = kept.ok_or(DropReason::EgressRule)?;
        }
        if self.is_here(packet.to) {
            let kept = ask(true, packet.to, packet.from, known.map(|keeps| keeps.1));
            keeps.1 = kept.ok_or(DropReason::IngressRule)?;
        }
        Ok(keeps)
    }

    /// What becomes of a packet whose ports are known, from a sender who may send it.
    pub(super) fn judge(&self, known: Option<&Connection>, packet: &Packet, now: u64) -> Judged {
        let found = known.and_then(|connection| Some((connection, connection.has(self.tenant, packet)?)));
        let Some((connection, forward)) = found else { return self.open(packet, now) };
        match connection.says(packet, forward, now) {
            Says::Over => self.open(packet, now),
            Says::Drops(DropReason::ConnectionCut) => Judged::WasCut,
            Says::Drops(reason) => Judged::Unfit(reason),
            Says::Passes(next) => match self.permitted(&connection.opening, false, Some(connection.keeps)) {
                Ok(_) => Judged::Passes(next),
                Err(DropReason::EgressRule | DropReason::IngressRule) => Judged::Cuts,
                Err(reason) => Judged::Refused(reason),
            },
        }
    }

    /// A packet of no connection, or one that takes the place of one.
    fn open(&self, packet: &Packet, now: u64) -> Judged {
        if let Err(reason) = connection::opens(packet) {
            return Judged::Unfit(reason);
        }
        match self.permitted(packet, false, None) {
            Ok(keeps) => Judged::Passes(Connection::new(self.tenant, packet, keeps, now)),
            Err(reason) => Judged::Refused(reason),
        }
    }
}

/// Address of an end.
pub(super) fn address(v6: bool, end: End) -> IpAddr {
    if v6 { end.v6().into() } else { end.v4().into() }
}
