//! What a packet that passes adds to its network's meter.

use andromede_abi::{Direction, FlowRow, MeterIndex, meter_place, side_kind};

use crate::{
    budget::Size,
    scratch::Scratch,
    stage::judge::{End, Opening},
    verdict::Claim,
    wire::ethernet,
};

/// What a packet adds, and to what. One that is not counted adds nothing.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metered {
    /// The row in `METERS`.
    pub meter: MeterIndex,
    /// See [`meter_place`]; less than [`meter_place::COUNT`].
    pub place: u8,
    /// Connections that it opened.
    pub flows: u8,
    /// Segments of it.
    pub packets: u32,
    /// Bytes of all of them, each with its own headers from the Ethernet header on.
    pub bytes: u32,
    reserved: u32,
}

impl Metered {
    /// Nothing.
    const NONE: Self = Self { meter: 0, place: meter_place::NONE, flows: 0, packets: 0, bytes: 0, reserved: 0 };

    /// What the packet in the scratch space adds, by the verdict that was reached.
    #[inline(always)]
    pub fn of(scratch: &Scratch) -> Self {
        let Scratch { row, packet, opening, verdict, .. } = scratch;
        if verdict.reason.is_some() || verdict.place == meter_place::NONE {
            return Self::NONE;
        }
        let headers = u32::from(packet.header_length).wrapping_add(ethernet::HEADER as u32);
        let Size { packets, bytes } = Size::new(opening.frame_length, packet.gso_size, headers);
        Self {
            meter: row.meter,
            place: verdict.place & (meter_place::COUNT as u8).wrapping_sub(1),
            flows: opens(verdict.claim, opening),
            packets,
            bytes,
            reserved: 0,
        }
    }
}

/// Does a packet with this claim open a connection that was not there?
#[inline(always)]
const fn opens(claim: Claim, opening: &Opening) -> u8 {
    (matches!(claim, Claim::Open) && !opening.is_known) as u8
}

/// Notes in the row of a connection that was just judged what packets of both sides count to.
#[inline(always)]
pub(crate) const fn settle(row: &mut FlowRow, initiator: &End, answerer: &End, opened: Direction) {
    let remote = row.next_hop.place as u8;
    let there = sent(initiator.kind, answerer.kind, remote);
    let back = sent(answerer.kind, initiator.kind, remote);
    (row.low_place, row.high_place) = match opened {
        Direction::LowToHigh => (there, back),
        Direction::HighToLow => (back, there),
    };
}

/// What a packet counts to that goes from a side of this kind to one of that; `remote` is what is sent to the other host counts to.
#[inline(always)]
const fn sent(from: u8, to: u8, remote: u8) -> u8 {
    match (from, to) {
        (side_kind::LOCAL, side_kind::LOCAL) => meter_place::SAME_HOST,
        (side_kind::LOCAL, side_kind::HOST) => meter_place::NODE_SENT,
        (side_kind::HOST, _) => meter_place::NODE_RECEIVED,
        (side_kind::LOCAL, _) => remote,
        // Who sends over the fabric counts; nobody else does it for who is outside.
        _ if remote == meter_place::OUTSIDE_SENT => meter_place::OUTSIDE_RECEIVED,
        _ => meter_place::NONE,
    }
}

/// What a packet counts to that goes this way along the row.
#[inline(always)]
pub(crate) const fn place(row: &FlowRow, direction: Direction) -> u8 {
    match direction {
        Direction::LowToHigh => row.low_place,
        Direction::HighToLow => row.high_place,
    }
}

#[cfg(test)]
mod tests {
    use andromede_abi::{
        meter_place::{NODE_RECEIVED, NODE_SENT, NONE, OTHER_ZONE, OUTSIDE_RECEIVED, OUTSIDE_SENT, SAME_HOST},
        side_kind::{HOST, LOCAL, REMOTE},
    };

    use super::*;

    #[test]
    fn between_workloads_only_the_sender_counts() {
        assert_eq!([sent(LOCAL, LOCAL, NONE), sent(LOCAL, LOCAL, OTHER_ZONE)], [SAME_HOST; 2]);
        assert_eq!([sent(LOCAL, REMOTE, OTHER_ZONE), sent(REMOTE, LOCAL, OTHER_ZONE)], [OTHER_ZONE, NONE]);
        assert_eq!(
            [sent(LOCAL, REMOTE, OUTSIDE_SENT), sent(REMOTE, LOCAL, OUTSIDE_SENT)],
            [OUTSIDE_SENT, OUTSIDE_RECEIVED]
        );
        assert_eq!([sent(LOCAL, HOST, NONE), sent(HOST, LOCAL, NONE)], [NODE_SENT, NODE_RECEIVED]);
    }
}
