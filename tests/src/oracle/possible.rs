//! What the connections of a host may be while a change is carried out, when nobody outside can tell which revision a packet met.
//!
//! Of each connection all that it may be is kept, and what becomes of each packet leaves the possibilities that explain it.

use andromede_abi::DropReason;

use super::{
    Sender,
    connection::Connection,
    packet::{Packet, What},
    revision::{Judged, Revision},
};

/// Of these first bytes of a datagram no part but the first one has any: what rules look at is there.
const HEADERS: usize = 16;

/// All that the connections of one network may be.
pub(super) struct Possible {
    tenant: usize,
    tracks: Vec<Track>,
    firsts: Vec<First>,
}

/// One connection.
struct Track {
    /// A packet of it.
    like: Packet,
    /// What it may be; none: it is not there.
    may_be: Vec<Option<Connection>>,
}

/// The first part of a datagram, which passed.
struct First {
    name: (bool, u8, u8, u32, u8),
    what: What,
    end: usize,
}

/// Where a packet was sent, and which host it went to.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) sender: Sender,
    pub(super) went: u8,
}

fn name(packet: &Packet) -> Option<(bool, u8, u8, u32, u8)> {
    let protocol = if packet.v6 { 0 } else { packet.protocol() };
    packet.part.map(|part| (packet.v6, packet.from.0, packet.to.0, part.id, protocol))
}

impl Revision {
    /// Is the packet's source where it was sent, and its destination where it went?
    fn is_where(&self, packet: &Packet, way: Way) -> bool {
        self.holds(way.sender, packet.from) && self.host(packet.to) == way.went
    }

    /// What the connection is after this packet has passed; none, if it may not.
    fn after(&self, before: Option<&Connection>, packet: &Packet) -> Option<Connection> {
        match self.judge(before, packet, 0) {
            Judged::Passes(next) => Some(next),
            _ => None,
        }
    }
}

impl Possible {
    /// None is there, in the network of this tenant.
    pub(super) const fn new(tenant: usize) -> Self {
        Self { tenant, tracks: Vec::new(), firsts: Vec::new() }
    }

    fn track(&mut self, packet: &Packet) -> &mut Track {
        let tenant = self.tenant;
        let is_it =
            |track: &Track| Connection::new(tenant, &track.like, (false, false), 0).has(tenant, packet).is_some();
        let at = self.tracks.iter().position(is_it).unwrap_or(self.tracks.len());
        if at == self.tracks.len() {
            self.tracks.push(Track { like: *packet, may_be: vec![None] });
        }
        &mut self.tracks[at]
    }

    /// The packet passed this way. False: none of the revisions in force permits it.
    pub(super) fn passed(&mut self, packet: &Packet, way: Way, in_force: &[Revision]) -> bool {
        let there: Vec<&Revision> = in_force.iter().filter(|revision| revision.is_where(packet, way)).collect();
        let Some(part) = packet.part else { return self.followed(packet, &there) };
        if part.start == 0 {
            let is_explained = self.followed(packet, &there);
            self.firsts.extend(name(packet).map(|name| First { name, what: packet.what, end: part.end }));
            return is_explained;
        }
        if part.start < HEADERS {
            return false;
        }
        let of_its_first = self.wholes(packet);
        let is_early = there.iter().any(|revision| revision.permitted(packet, true, None).is_ok());
        let mut is_explained = is_early;
        for whole in of_its_first {
            let before = self.track(&whole).may_be.clone();
            if self.followed(&whole, &there) {
                is_explained = true;
                // It may as well have passed by a rule for its whole protocol, and touched no connection.
                self.track(&whole).add(before);
            }
        }
        is_explained
    }

    /// The packet, with what the first part of its datagram said, if it is a later one.
    fn wholes(&self, packet: &Packet) -> Vec<Packet> {
        let Some(part) = packet.part.filter(|part| part.start > 0) else { return vec![*packet] };
        let own = self.firsts.iter().filter(|first| Some(first.name) == name(packet) && first.end <= part.start);
        own.map(|first| Packet { what: first.what, ..*packet }).collect()
    }

    /// A packet whose ports are known passed where these revisions have it.
    fn followed(&mut self, packet: &Packet, there: &[&Revision]) -> bool {
        let track = self.track(packet);
        let mut next = Vec::new();
        for before in &track.may_be {
            next.extend(there.iter().filter_map(|revision| revision.after(before.as_ref(), packet)).map(Some));
        }
        if next.is_empty() {
            return false;
        }
        track.may_be.clear();
        track.add(next);
        true
    }

    /// The packet was dropped. False: its connection was cut, and no revision in force asks for that.
    pub(super) fn dropped(&mut self, packet: &Packet, reason: DropReason, in_force: &[Revision]) -> bool {
        if reason != DropReason::ConnectionCut {
            return true;
        }
        let wholes = self.wholes(packet);
        let is_certain = wholes.len() == 1;
        let mut is_explained = false;
        for whole in wholes {
            let track = self.track(&whole);
            let cuts = |before: &&Connection| {
                before.cut
                    || in_force.iter().any(|revision| matches!(revision.judge(Some(before), &whole, 0), Judged::Cuts))
            };
            let cut = track.may_be.iter().flatten().filter(cuts).map(|before| Some(before.after_cut()));
            let cut: Vec<_> = cut.collect();
            is_explained |= !cut.is_empty();
            if is_certain {
                track.may_be.clear();
            }
            track.add(cut);
        }
        is_explained
    }

    /// Must the packet, which comes whole, pass, whatever its connection is, if this revision is in force and no other?
    pub(super) fn must_pass(&mut self, packet: &Packet, sender: Sender, revision: &Revision) -> bool {
        let track = self.track(packet);
        revision.holds(sender, packet.from)
            && track.may_be.iter().all(|before| revision.after(before.as_ref(), packet).is_some())
    }
}

impl Track {
    fn add(&mut self, more: Vec<Option<Connection>>) {
        for one in more {
            if !self.may_be.contains(&one) {
                self.may_be.push(one);
            }
        }
    }
}
