//! TCP, UDP and ICMP.

use std::net::IpAddr;

use super::{checksum, protocol, transport_checksum};

/// Bits of [`Tcp::flags`].
pub mod tcp_flag {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Opens.
    pub const SYN: u8 = 2;
    /// Resets.
    pub const RST: u8 = 4;
    /// Push.
    pub const PSH: u8 = 8;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 16;
}

/// A TCP header without options, or with ones that the caller padded (RFC 9293).
#[derive(Clone, Debug, Default)]
pub struct Tcp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// See [`tcp_flag`].
    pub flags: u8,
    /// Options, a multiple of four bytes.
    pub options: Vec<u8>,
}

impl Tcp {
    /// A segment with these flags.
    pub fn new(source: u16, destination: u16, flags: u8) -> Self {
        Self { source, destination, flags, sequence: 1_000, ..Self::default() }
    }

    /// The header around a payload, with the checksum for these addresses.
    pub fn wrap(&self, source: IpAddr, destination: IpAddr, payload: &[u8]) -> Vec<u8> {
        let words = (20 + self.options.len()).div_ceil(4) as u8;
        let segment = |sum: u16| {
            [
                &self.source.to_be_bytes()[..],
                &self.destination.to_be_bytes(),
                &self.sequence.to_be_bytes(),
                &self.acknowledgement.to_be_bytes(),
                &[words << 4, self.flags, 0xff, 0xff],
                &sum.to_be_bytes(),
                &[0, 0],
                &self.options,
                payload,
            ]
            .concat()
        };
        segment(transport_checksum(source, destination, protocol::TCP, &segment(0)))
    }
}

/// A UDP header (RFC 768).
#[derive(Clone, Copy, Debug)]
pub struct Udp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

impl Udp {
    /// The header around a payload, with the checksum for these addresses.
    pub fn wrap(&self, source: IpAddr, destination: IpAddr, payload: &[u8]) -> Vec<u8> {
        let sum = transport_checksum(source, destination, protocol::UDP, &self.wrap_with_checksum(0, payload));
        // A checksum of zero is sent as all ones: zero says that there is none.
        self.wrap_with_checksum(if sum == 0 { u16::MAX } else { sum }, payload)
    }

    /// The header around a payload, with this checksum; 0 is none.
    pub fn wrap_with_checksum(&self, sum: u16, payload: &[u8]) -> Vec<u8> {
        let length = (8 + payload.len()) as u16;
        [
            &self.source.to_be_bytes()[..],
            &self.destination.to_be_bytes(),
            &length.to_be_bytes(),
            &sum.to_be_bytes(),
            payload,
        ]
        .concat()
    }
}

/// An echo request, or its reply, of the family of the addresses (RFC 792, RFC 4443).
pub fn icmp_echo(
    source: IpAddr,
    destination: IpAddr,
    request: bool,
    id: u16,
    sequence: u16,
    payload: &[u8],
) -> Vec<u8> {
    let kind = match (source.is_ipv4(), request) {
        (true, true) => 8,
        (true, false) => 0,
        (false, true) => 128,
        (false, false) => 129,
    };
    let rest = [id.to_be_bytes(), sequence.to_be_bytes()].concat();
    icmp(source, destination, (kind, 0), &[&rest[..], payload].concat())
}

/// An ICMP error of the family of the addresses: type and code, the four bytes behind the checksum, and the packet that it quotes.
pub fn icmp_error(source: IpAddr, destination: IpAddr, kind: (u8, u8), rest: u32, quote: &[u8]) -> Vec<u8> {
    icmp(source, destination, kind, &[&rest.to_be_bytes()[..], quote].concat())
}

/// An ICMP message: type and code, and what is behind the checksum.
fn icmp(source: IpAddr, destination: IpAddr, (kind, code): (u8, u8), rest: &[u8]) -> Vec<u8> {
    let message = |sum: u16| [&[kind, code][..], &sum.to_be_bytes(), rest].concat();
    let sum = if source.is_ipv4() {
        checksum(&[&message(0)])
    } else {
        transport_checksum(source, destination, protocol::ICMPV6, &message(0))
    };
    message(sum)
}
