//! Packets as somebody means them, and their bytes.

use std::fmt;

use andromede_testkit::packet::{Ends, Tcp};

use crate::twin::End;

/// What is above IP: ports as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the fields are those of the protocols")]
pub enum What {
    /// A TCP segment with these flags, with data or without.
    Tcp { source: u16, destination: u16, flags: u8, data: bool },
    /// A datagram.
    Udp { source: u16, destination: u16 },
    /// An echo of the family.
    Echo { request: bool, id: u16 },
    /// Another question of ICMP, of the family.
    Message { kind: u8, code: u8 },
    /// A packet of SCTP whose first chunk is of this type.
    Sctp { source: u16, destination: u16, chunk: u8 },
    /// Something without ports.
    Other(u8),
}

impl What {
    /// What the other side sends back; of a message, which has no answer, the same.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Tcp { source, destination, flags, data } => {
                Self::Tcp { source: destination, destination: source, flags, data }
            }
            Self::Udp { source, destination } => Self::Udp { source: destination, destination: source },
            Self::Sctp { source, destination, chunk } => Self::Sctp { source: destination, destination: source, chunk },
            Self::Echo { request, id } => Self::Echo { request: !request, id },
            same @ (Self::Message { .. } | Self::Other(_)) => same,
        }
    }

    /// The same, if of TCP with these flags.
    #[must_use]
    pub const fn with_flags(self, flags: u8) -> Self {
        match self {
            Self::Tcp { source, destination, data, .. } => Self::Tcp { source, destination, flags, data },
            same => same,
        }
    }
}

/// Which part of its datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What names the datagram.
    pub id: u32,
    /// Where it begins: a multiple of eight.
    pub start: usize,
    /// Where it ends; the last one ends at [`DATAGRAM`].
    pub end: usize,
}

/// Bytes above IP of a datagram that comes in parts.
pub const DATAGRAM: usize = 64;

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Of IPv6.
    pub v6: bool,
    /// Whose address its source is.
    pub from: End,
    /// Whose address its destination is.
    pub to: End,
    /// What it carries.
    pub what: What,
    /// If it is not the whole of it.
    pub part: Option<Part>,
}

impl Packet {
    /// IP protocol number.
    pub const fn protocol(&self) -> u8 {
        match self.what {
            What::Tcp { .. } => 6,
            What::Udp { .. } => 17,
            What::Sctp { .. } => 132,
            What::Other(number) => number,
            What::Echo { .. } | What::Message { .. } => {
                if self.v6 {
                    58
                } else {
                    1
                }
            }
        }
    }

    /// Destination port, or type and code of ICMP: what rules look at.
    pub const fn service(&self) -> u16 {
        match self.what {
            What::Tcp { destination, .. } | What::Udp { destination, .. } | What::Sctp { destination, .. } => {
                destination
            }
            What::Echo { request, .. } => u16::from_be_bytes([self.echo_kind(request), 0]),
            What::Message { kind, code } => u16::from_be_bytes([kind, code]),
            What::Other(_) => 0,
        }
    }

    const fn echo_kind(&self, request: bool) -> u8 {
        match (self.v6, request) {
            (true, true) => 128,
            (true, false) => 129,
            (false, true) => 8,
            (false, false) => 0,
        }
    }

    /// The frame that a port with the source's address sends.
    pub fn frame(&self) -> Vec<u8> {
        let ends = ends(self.v6, self.from, self.to);
        let whole = match self.what {
            What::Tcp { source, destination, flags, data } => {
                ends.tcp(&Tcp::new(source, destination, flags), if data { b"data" } else { b"" })
            }
            What::Udp { source, destination } => ends.udp(source, destination, &[7; DATAGRAM - 8]),
            What::Echo { request, id } => ends.echo(request, id, 1, &[7; DATAGRAM - 8]),
            What::Message { kind, code } => ends.ip(self.protocol(), &[kind, code, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]),
            What::Sctp { source, destination, chunk } => {
                // An INIT has no verification tag yet (RFC 9260, section 8.5.1).
                let tag = u8::from(chunk != 1);
                let ports = [source.to_be_bytes(), destination.to_be_bytes()].concat();
                ends.ip(132, &[&ports[..], &[0, 0, 0, tag, 0, 0, 0, 0, chunk, 0, 0, 8, 0, 0, 0, 0]].concat())
            }
            What::Other(number) => ends.ip(number, &[9; DATAGRAM]),
        };
        let Some(part) = self.part else { return whole };
        let above = &whole[if self.v6 { 54 } else { 34 }..];
        ends.piece(part.id, self.protocol(), above, part.start..part.end)
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, part) = (if self.v6 { 6 } else { 4 }, self.part);
        write!(f, "IPv{family} {} > {} {:?}", self.from.0, self.to.0, self.what)?;
        part.map_or(Ok(()), |part| write!(f, ", bytes {} to {} of datagram {}", part.start, part.end, part.id))
    }
}

fn ends(v6: bool, from: End, to: End) -> Ends {
    if v6 {
        Ends::new((from.mac(), from.v6()), (to.mac(), to.v6()))
    } else {
        Ends::new((from.mac(), from.v4()), (to.mac(), to.v4()))
    }
}

/// An ICMP error: somebody says that a packet did not get where it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Whose address its source is.
    pub from: End,
    /// Whose address its destination is.
    pub to: End,
    /// Destination unreachable; else the time of the packet is over.
    pub unreachable: bool,
    /// The packet that it quotes.
    pub about: Packet,
}

impl Complaint {
    /// The frame that a port with the source's address sends.
    pub fn frame(&self) -> Vec<u8> {
        let kind = match (self.about.v6, self.unreachable) {
            (false, true) => (3, 1),
            (false, false) => (11, 0),
            (true, true) => (1, 0),
            (true, false) => (3, 0),
        };
        ends(self.about.v6, self.from, self.to).icmp_error(kind, &self.about.frame())
    }
}
