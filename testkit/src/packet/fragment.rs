//! Pieces of datagrams.

use std::{net::IpAddr, ops::Range};

use super::{Ends, Ipv4, Ipv6, ends::v6, ether_type, ethernet, protocol};

impl Ends {
    /// A fragment: these bytes of a datagram's payload. It says that more follow unless it reaches to the end. The whole range
    /// gives an IPv6 packet with a fragment header (RFC 6946), and over IPv4 no fragment.
    ///
    /// # Panics
    /// If the range is not within the datagram.
    pub fn piece(&self, identification: u32, upper: u8, datagram: &[u8], range: Range<usize>) -> Vec<u8> {
        let more = range.end < datagram.len();
        let offset = (range.start / 8) as u16;
        self.loose_piece(identification, upper, offset, more, &datagram[range])
    }

    /// A fragment of any kind, also one that no datagram has. `offset` is in units of eight bytes.
    pub fn loose_piece(&self, identification: u32, upper: u8, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
        if let (IpAddr::V4(source), IpAddr::V4(destination)) = (self.source, self.destination) {
            let mut header = Ipv4::new(source, destination);
            header.id = identification as u16;
            header.more_fragments = more;
            header.dont_fragment = false;
            header.fragment_offset = offset;
            return self.ipv4(&header, upper, payload);
        }
        let place = offset << 3 | u16::from(more);
        let fragment = [&[upper, 0][..], &place.to_be_bytes(), &identification.to_be_bytes(), payload].concat();
        let packet = Ipv6::new(v6(self.source), v6(self.destination)).wrap(protocol::FRAGMENT, &fragment);
        ethernet(self.destination_mac, self.source_mac, ether_type::IPV6, &packet)
    }
}
