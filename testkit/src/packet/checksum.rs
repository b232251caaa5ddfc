//! The Internet checksum, RFC 1071.

use std::net::IpAddr;

/// Ones' complement of the ones' complement sum of the 16-bit words of all parts, which follow each other.
/// Every part but the last has an even length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            let word = match pair {
                [high, low] => u16::from_be_bytes([*high, *low]),
                [high] => u16::from_be_bytes([*high, 0]),
                _ => 0,
            };
            sum += u64::from(word);
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Checksum of a TCP, UDP or `ICMPv6` segment whose checksum field is zero, with its pseudo header
/// (RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1).
pub fn transport_checksum(source: IpAddr, destination: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let length = segment.len() as u32;
    let tail = [&length.to_be_bytes()[..], &[0, 0, 0, protocol]].concat();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            checksum(&[&source.octets(), &destination.octets(), &tail, segment])
        }
        (source, destination) => {
            let of = |address: IpAddr| match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            checksum(&[&of(source), &of(destination), &tail, segment])
        }
    }
}
