//! What was judged about a connection, for the next one of its kind: whoever opens one connection opens another to the same service.

use andromede_abi::{Address, FlowRow, HostIndex, NetworkIndex};

use crate::{lifetime::Terms, scratch::Scratch, stage::judge::End};

/// What connections have in common that are judged alike: all that places and rules are asked by. The port of the side that opens the
/// connection is not in it. It is that of one network: nothing that is kept of another is met.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    network: NetworkIndex,
    vni: u32,
    sender: HostIndex,
    source: Address,
    destination: Address,
    service_port: u16,
    protocol: u8,
    reserved: u8,
}

impl Kind {
    /// That of the packet in the scratch space.
    #[inline(always)]
    const fn of(scratch: &Scratch) -> Self {
        let Scratch { packet, opening, .. } = scratch;
        Self {
            network: opening.network,
            vni: opening.vni,
            sender: opening.sender,
            source: packet.source,
            destination: packet.destination,
            service_port: packet.service_port,
            protocol: packet.protocol,
            reserved: 0,
        }
    }
}

/// The judgement of a connection that may be: what its row says, but for what is that connection's own.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    row: FlowRow,
    initiator: End,
    answerer: End,
    terms: Terms,
    kind: Kind,
    logged: u8,
}

impl Judgement {
    /// May the connection in the scratch space be judged as others of its kind are? Not if it was judged before: what it was then counts.
    #[inline(always)]
    pub const fn is_for(scratch: &Scratch) -> bool {
        !scratch.opening.is_known && !scratch.packet.fragment.is_part()
    }

    /// A number by which to look for that of the connection in the scratch space.
    #[inline(always)]
    pub const fn place(scratch: &Scratch) -> u32 {
        let Scratch { packet, opening, .. } = scratch;
        let (Address([_, _, a, b]), Address([_, _, c, d])) = (&packet.source, &packet.destination);
        let addresses = a.rotate_left(7) ^ *b ^ c.rotate_left(19) ^ d.rotate_left(13);
        let service = (packet.service_port as u32) << 8 ^ packet.protocol as u32;
        (addresses ^ opening.network.rotate_left(3) ^ service).wrapping_mul(0x9e37_79b1) >> 16
    }

    /// Is it of the connection in the scratch space? Asked field by field, because a kernel program has little stack.
    #[inline(always)]
    pub fn is_of(&self, scratch: &Scratch) -> bool {
        let Scratch { packet, opening, .. } = scratch;
        let Kind { network, vni, sender, source, destination, service_port, protocol, reserved: _ } = &self.kind;
        (*network, *vni, *sender) == (opening.network, opening.vni, opening.sender)
            && (*service_port, *protocol) == (packet.service_port, packet.protocol)
            && *source == packet.source
            && *destination == packet.destination
    }

    /// Becomes that of the connection in the scratch space, which has just been judged.
    #[inline(always)]
    pub const fn keep(&mut self, scratch: &Scratch) {
        self.kind = Kind::of(scratch);
        self.row = scratch.row;
        self.initiator = scratch.initiator;
        self.answerer = scratch.answerer;
        self.terms = scratch.terms;
        self.logged = scratch.logged;
    }

    /// Judges the connection in the scratch space.
    #[inline(always)]
    pub const fn apply(&self, scratch: &mut Scratch) {
        scratch.row = self.row;
        scratch.initiator = self.initiator;
        scratch.answerer = self.answerer;
        scratch.terms = self.terms;
        scratch.logged = self.logged;
        scratch.row.owner = scratch.key.owner();
    }
}
