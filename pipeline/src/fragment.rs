//! Which part of a datagram a packet is.

use andromede_abi::{DropReason, Stage};

use crate::{verdict::Refusal, wire::ip_protocol};

/// The longest datagram, headers and all, bytes (RFC 791, section 3.1; RFC 8200, section 4.5).
const LONGEST: u32 = 65_535;

/// Fragments begin at multiples of so many bytes.
const UNIT: u32 = 8;

/// What a packet is of its datagram.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentKind {
    /// The whole datagram. An IPv6 packet whose fragment header says so is one (RFC 6946).
    Whole = 0,
    /// The first fragment: it has the transport header.
    First = 1,
    /// A later one. If the first was seen, the packet has its ports.
    Later = 2,
    /// A later one of a datagram whose first was not seen: the packet has no ports.
    Early = 3,
}

/// Which part of a datagram a packet is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What names the datagram beside its addresses: 16 bits of IPv4, 32 of IPv6, as the header has it.
    pub identification: u32,
    /// Where the part begins, in bytes of the datagram's payload. A multiple of eight.
    pub start: u16,
    /// Where it ends.
    pub end: u16,
    /// See [`FragmentKind`].
    pub kind: FragmentKind,
    reserved: [u8; 3],
}

/// What a header says of a fragment.
pub(crate) struct Claimed {
    /// The field of the header: the offset in units of eight bytes.
    pub(crate) offset: u32,
    /// More fragments follow.
    pub(crate) more: bool,
    /// Bytes of payload in this packet.
    pub(crate) length: u32,
    /// Bytes before the payload that count towards the length of the datagram.
    pub(crate) before: u32,
    /// The identification, as the header has it.
    pub(crate) identification: u32,
}

const fn refuse(reason: DropReason) -> Refusal {
    Refusal::new(Stage::Parse, reason)
}

impl Fragment {
    /// A whole datagram.
    pub const WHOLE: Self = Self { identification: 0, start: 0, end: 0, kind: FragmentKind::Whole, reserved: [0; 3] };

    /// Is it a part of a datagram, and not the whole?
    #[inline(always)]
    pub const fn is_part(&self) -> bool {
        !matches!(self.kind, FragmentKind::Whole)
    }

    /// Has it no transport header?
    #[inline(always)]
    pub const fn is_headless(&self) -> bool {
        matches!(self.kind, FragmentKind::Later | FragmentKind::Early)
    }

    /// Is it a later fragment of a datagram whose first was not seen?
    #[inline(always)]
    pub const fn is_early(&self) -> bool {
        matches!(self.kind, FragmentKind::Early)
    }

    /// The fragment that a header claims to be; not both the first and the last.
    #[inline(always)]
    pub(crate) fn read(claimed: &Claimed, gso_size: u32) -> Result<Self, Refusal> {
        let start = claimed.offset.wrapping_mul(UNIT);
        let end = start.wrapping_add(claimed.length);
        if claimed.length == 0 || gso_size != 0 || (claimed.more && !claimed.length.is_multiple_of(UNIT)) {
            return Err(refuse(DropReason::BadFragment));
        }
        if claimed.before.wrapping_add(end) > LONGEST {
            return Err(refuse(DropReason::FragmentTooLong));
        }
        // Nobody cuts a datagram there, and what rules read of TCP and SCTP stands behind the eighth byte. The protocol is not
        // asked, because that of a later IPv6 fragment means nothing (RFC 8200, section 4.5).
        if start == UNIT {
            return Err(refuse(DropReason::HeaderFragment));
        }
        let kind = if start == 0 { FragmentKind::First } else { FragmentKind::Later };
        let identification = claimed.identification;
        Ok(Self { identification, start: start as u16, end: end as u16, kind, reserved: [0; 3] })
    }

    /// Refuses a first fragment that is shorter than its transport header: what stands behind it in the frame is not of it.
    #[inline(always)]
    pub(crate) const fn holds(&self, header: u16) -> Result<(), Refusal> {
        if matches!(self.kind, FragmentKind::First) && self.end < header {
            return Err(refuse(DropReason::TinyFragment));
        }
        Ok(())
    }
}

/// Bytes of transport header that a first fragment must have before it is read.
#[inline(always)]
pub(crate) const fn least_header(protocol: u8) -> u16 {
    match protocol {
        ip_protocol::TCP => 20,
        // The common header, and that of the first chunk.
        ip_protocol::SCTP => 16,
        ip_protocol::UDP | ip_protocol::ICMP | ip_protocol::ICMPV6 => 8,
        _ => 0,
    }
}
