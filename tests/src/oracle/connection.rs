//! Connections as docs/connections.md has them, kept in a list.

use andromede_abi::DropReason;

use super::packet::{Packet, What};
use crate::twin::End;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Which sides' rules keep a connection: the initiator's, the answerer's.
pub(super) type Keeps = (bool, bool);

/// What one side of a connection is told by.
type Side = (End, u16);

/// How far a connection is. Protocols without states know only whether the answerer was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// The answerer was heard; of TCP and SCTP its SYN or INIT.
    answered: bool,
    /// The answerer opened as well, without having been asked.
    both_open: bool,
    /// The answer was acknowledged.
    established: bool,
    /// The initiator, and the answerer, ended.
    fins: (bool, bool),
    /// The initiator, and the answerer, reset it.
    resets: (bool, bool),
}

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    tenant: usize,
    protocol: u8,
    v6: bool,
    /// Type and code of a message, which is a connection for itself, or that an echo is one.
    kind: Option<u16>,
    initiator: Side,
    answerer: Side,
    /// The packet that opened it.
    pub(super) opening: Packet,
    progress: Progress,
    /// Second in which its last packet passed, or tried to pass.
    seen: u64,
    /// It was cut.
    pub(super) cut: bool,
    /// Which sides keep it.
    pub(super) keeps: Keeps,
    /// How often the tenant's rules had changed when its last packet passed.
    pub(super) judged: u64,
}

/// What a connection says of a packet of its own.
pub(super) enum Says {
    /// It passes if the rules still permit the packet that opened the connection, and then this is the connection.
    Passes(Connection),
    /// It is dropped.
    Drops(DropReason),
    /// The connection is over for it: it is judged as if there were none.
    Over,
}

/// What is kept of the initiator, or of the answerer.
const fn side(of: &mut (bool, bool), initiator: bool) -> &mut bool {
    if initiator { &mut of.0 } else { &mut of.1 }
}

fn sides(packet: &Packet) -> (Side, Side) {
    let (source, destination) = match packet.what {
        What::Tcp { source, destination, .. }
        | What::Udp { source, destination }
        | What::Sctp { source, destination, .. } => (source, destination),
        What::Echo { id, .. } => (id, id),
        What::Message { .. } | What::Other(_) => (0, 0),
    };
    ((packet.from, source), (packet.to, destination))
}

fn kind(packet: &Packet) -> Option<u16> {
    match packet.what {
        What::Message { .. } => Some(packet.service()),
        _ => None,
    }
}

/// May a packet like this open a connection?
pub(super) fn opens(packet: &Packet) -> Result<(), DropReason> {
    match packet.what {
        What::Tcp { flags, .. } if flags & (SYN | ACK) == SYN | ACK && flags & RST == 0 => {
            Err(DropReason::UnaskedSynAck)
        }
        What::Tcp { flags, .. } if flags & SYN == 0 => Err(DropReason::NoConnection),
        What::Sctp { chunk, .. } if chunk != 1 => Err(DropReason::NoConnection),
        What::Echo { request: false, .. } => Err(DropReason::NoConnection),
        _ => Ok(()),
    }
}

impl Connection {
    /// The connection that this packet opens.
    pub(super) fn new(tenant: usize, packet: &Packet, keeps: Keeps, now: u64) -> Self {
        let (initiator, answerer) = sides(packet);
        Self {
            tenant,
            protocol: packet.protocol(),
            v6: packet.v6,
            kind: kind(packet),
            initiator,
            answerer,
            opening: Packet { part: None, ..*packet },
            progress: Progress::default(),
            seen: now,
            cut: false,
            keeps,
            judged: 0,
        }
    }

    /// Is this packet one of the connection's, and if so, does it come from the initiator?
    pub(super) fn has(&self, tenant: usize, packet: &Packet) -> Option<bool> {
        let same =
            (self.tenant, self.protocol, self.v6, self.kind) == (tenant, packet.protocol(), packet.v6, kind(packet));
        let (from, to) = sides(packet);
        if !same {
            return None;
        }
        // An echo is told by who asks; of a message both ways are one.
        if let What::Echo { request, .. } = packet.what {
            let asker = if request { (from, to) } else { (to, from) };
            return (asker == (self.initiator, self.answerer)).then_some(request);
        }
        if (from, to) == (self.initiator, self.answerer) {
            return Some(true);
        }
        ((to, from) == (self.initiator, self.answerer)).then_some(false)
    }

    /// Seconds without a packet after which it is over.
    const fn lifetime(&self) -> u64 {
        let Progress { answered, established, fins, resets, .. } = self.progress;
        let reset = resets.0 || resets.1;
        if self.cut {
            return 300;
        }
        match self.protocol {
            6 if reset || (fins.0 && fins.1) => 10,
            6 if established && !fins.0 && !fins.1 => 7_440,
            6 => 240,
            132 if reset => 10,
            132 if established => 300,
            17 if answered => 300,
            17 | 132 => 120,
            _ => 60,
        }
    }

    /// Is it over for want of packets?
    pub(super) const fn is_over(&self, now: u64) -> bool {
        now - self.seen > self.lifetime()
    }

    /// The connection once rules refuse it.
    pub(super) const fn after_cut(self) -> Self {
        Self { cut: true, ..self }
    }

    /// A packet that was dropped because the connection is cut keeps it in mind.
    pub(super) const fn attempted(&mut self, now: u64) {
        self.seen = now;
    }

    const fn is_closed(&self) -> bool {
        let Progress { fins, resets, .. } = self.progress;
        resets.0 || resets.1 || (fins.0 && fins.1)
    }

    /// What it says of a packet of its own, if that is not over for want of packets.
    pub(super) fn says(&self, packet: &Packet, forward: bool, now: u64) -> Says {
        if self.cut {
            let again = match packet.what {
                What::Tcp { flags, .. } => flags & (SYN | ACK) == SYN,
                What::Sctp { chunk, .. } => chunk == 1,
                _ => forward && opens(packet).is_ok(),
            };
            return if again { Says::Over } else { Says::Drops(DropReason::ConnectionCut) };
        }
        let mut next = Self { seen: now, ..*self };
        let outcome = match packet.what {
            What::Tcp { flags, .. } => self.tcp(&mut next, flags, forward, now),
            What::Sctp { chunk, .. } => self.sctp(&mut next, chunk, forward, now),
            _ => {
                next.progress.answered |= !forward;
                Ok(true)
            }
        };
        match outcome {
            Ok(true) => Says::Passes(next),
            Ok(false) => Says::Over,
            Err(reason) => Says::Drops(reason),
        }
    }

    /// False: it begins another connection.
    fn tcp(&self, next: &mut Self, flags: u8, forward: bool, now: u64) -> Result<bool, DropReason> {
        let Progress { answered, both_open, established, .. } = self.progress;
        if flags & RST != 0 {
            *side(&mut next.progress.resets, forward) = true;
            return Ok(true);
        }
        let syn = flags & SYN != 0;
        if syn && flags & ACK == 0 {
            if self.is_closed() {
                return Ok(false);
            }
            if established {
                next.seen = self.seen;
                return if forward { Ok(true) } else { Err(DropReason::UnexpectedOpen) };
            }
            next.seen = self.seen;
            if !forward && answered && !both_open {
                return Err(DropReason::UnexpectedOpen);
            }
            if !forward && !both_open {
                next.progress.answered = true;
                next.progress.both_open = true;
                next.seen = now;
            }
            return Ok(true);
        }
        if syn && forward && !both_open {
            return Err(DropReason::UnaskedSynAck);
        }
        if syn && !forward {
            next.progress.answered = true;
        }
        // Whoever truly reset it sends nothing more.
        *side(&mut next.progress.resets, forward) = false;
        if !answered && !syn {
            // An answerer that remembers an older connection challenges the SYN (RFC 5961, section 4).
            let challenge = !forward && flags & FIN == 0;
            return if challenge { Ok(true) } else { Err(DropReason::NotAnswered) };
        }
        if forward && answered {
            next.progress.established = true;
        }
        if flags & FIN != 0 {
            *side(&mut next.progress.fins, forward) = true;
        }
        Ok(true)
    }

    fn sctp(&self, next: &mut Self, chunk: u8, forward: bool, now: u64) -> Result<bool, DropReason> {
        const INIT: u8 = 1;
        const INIT_ACK: u8 = 2;
        const ABORT: u8 = 6;
        const COOKIE_ECHO: u8 = 10;
        const SHUTDOWN_COMPLETE: u8 = 14;
        let answer = chunk == INIT_ACK && !forward;
        if chunk == INIT {
            next.seen = self.seen;
            if self.is_closed() {
                return Ok(false);
            }
            if self.progress.established && !forward {
                return Err(DropReason::UnexpectedOpen);
            }
            if !forward && !self.progress.both_open {
                (next.progress.answered, next.progress.both_open) = (true, true);
                next.seen = now;
            }
            return Ok(true);
        }
        if !self.progress.answered && !answer && chunk != ABORT {
            return Err(DropReason::NotAnswered);
        }
        next.progress.answered |= answer;
        next.progress.established |= chunk == COOKIE_ECHO;
        *side(&mut next.progress.resets, forward) = matches!(chunk, ABORT | SHUTDOWN_COMPLETE);
        Ok(true)
    }
}
