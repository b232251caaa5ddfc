//! The packet that is asked about.

use std::net::IpAddr;

use andromede_model::{GATEWAY_MAC, MacAddress, Port, PortName, Protocol, Violation};
use andromede_pipeline::{
    memory::Bytes,
    wire::{ethernet, icmp, ip, ip_protocol, tcp},
};
use andromede_proto::v1::TraceRequest;

/// Source port, and identifier of an echo, if none is given.
const SOURCE_PORT: u16 = 49_152;
/// Hop limit of what workloads send.
const HOP_LIMIT: u8 = 64;

/// A question whose every field was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The port that sends.
    pub port: PortName,
    /// Source address; none: the port's own.
    pub source: Option<IpAddr>,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Bits of the TCP flags.
    pub tcp_flags: u8,
}

impl Question {
    /// Checks the request; everything that is wrong comes back at once.
    pub fn read(request: &TraceRequest) -> Result<Self, Vec<Violation>> {
        let mut wrong = Vec::new();
        let port =
            request.port.parse().map_err(|error: andromede_model::NameError| wrong.push(error.violation("port")));
        let destination = address("destination", &request.destination).map_err(|error| wrong.push(error));
        let source = match request.source.as_str() {
            "" => Ok(None),
            text => address("source", text).map(Some).map_err(|error| wrong.push(error)),
        };
        let v4 = destination.is_ok_and(|address| address.is_ipv4());
        let protocol = protocol(&request.protocol, v4).map_err(|error| wrong.push(error));
        let number = |field: &str, value: u32| {
            let rule = "a port is a number of at most 65535";
            u16::try_from(value).map_err(|_| Violation::new(field, value, rule, "write a smaller number"))
        };
        let source_port = number("source_port", request.source_port).map_err(|error| wrong.push(error));
        let destination_port = number("destination_port", request.destination_port).map_err(|error| wrong.push(error));
        let tcp_flags = flags(&request.tcp_flags).map_err(|error| wrong.push(error));
        if matches!(protocol, Ok(ip_protocol::TCP | ip_protocol::UDP)) && request.destination_port == 0 {
            let rule = "tcp and udp need a destination port";
            wrong.push(Violation::new("destination_port", 0, rule, "give it, for example 443"));
        }
        if let (Ok(destination), Ok(Some(source))) = (&destination, &source)
            && destination.is_ipv4() != source.is_ipv4()
        {
            let rule = "source and destination are of one family";
            wrong.push(Violation::new("source", source, rule, "give an address of the destination's family, or none"));
        }
        match (port, destination, source, protocol, source_port, destination_port, tcp_flags) {
            (
                Ok(port),
                Ok(destination),
                Ok(source),
                Ok(protocol),
                Ok(source_port),
                Ok(destination_port),
                Ok(tcp_flags),
            ) if wrong.is_empty() => {
                let source_port = if source_port == 0 { SOURCE_PORT } else { source_port };
                Ok(Self { port, source, destination, protocol, source_port, destination_port, tcp_flags })
            }
            _ => Err(wrong),
        }
    }

    /// The frame that the port sends, and its source address; none if the port has no address of the family.
    pub fn frame(&self, port: &Port, destination_mac: Option<MacAddress>) -> Option<(Bytes, IpAddr)> {
        let same_family = |address: &&IpAddr| address.is_ipv4() == self.destination.is_ipv4();
        let source = self.source.or_else(|| port.addresses.iter().find(same_family).copied())?;
        let payload = self.payload();
        let mut frame = Vec::with_capacity(ethernet::HEADER + ip::V6_HEADER + payload.len());
        frame.extend_from_slice(&destination_mac.unwrap_or(GATEWAY_MAC).bytes());
        frame.extend_from_slice(&port.mac.bytes());
        match (source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend_from_slice(&ethernet::TYPE_IPV4.to_ne_bytes());
                let length = (ip::V4_HEADER + payload.len()) as u16;
                let mut header = [0; ip::V4_HEADER];
                header[0] = 0x45;
                header[2..4].copy_from_slice(&length.to_be_bytes());
                header[8] = HOP_LIMIT;
                header[9] = self.protocol;
                header[12..16].copy_from_slice(&source.octets());
                header[16..20].copy_from_slice(&destination.octets());
                let sum = header.chunks_exact(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum::<u32>();
                let folded = (sum & 0xffff) + (sum >> 16);
                header[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
                frame.extend_from_slice(&header);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend_from_slice(&ethernet::TYPE_IPV6.to_ne_bytes());
                frame.extend_from_slice(&[0x60, 0, 0, 0]);
                frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
                frame.extend_from_slice(&[self.protocol, HOP_LIMIT]);
                frame.extend_from_slice(&source.octets());
                frame.extend_from_slice(&destination.octets());
            }
            _ => return None,
        }
        frame.extend_from_slice(&payload);
        Some((Bytes(frame), source))
    }

    /// The upper layer: header and no data. Its checksum is zero: nothing on the way looks at it.
    fn payload(&self) -> Vec<u8> {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        match self.protocol {
            ip_protocol::TCP => {
                let mut header = vec![0; tcp::HEADER];
                header[..4].copy_from_slice(&[s0, s1, d0, d1]);
                header[12..14].copy_from_slice(&[0x50, self.tcp_flags]);
                header
            }
            ip_protocol::UDP => vec![s0, s1, d0, d1, 0, 8, 0, 0],
            ip_protocol::SCTP => vec![s0, s1, d0, d1, 0, 0, 0, 0, 0, 0, 0, 0],
            ip_protocol::ICMP => vec![icmp::ECHO_REQUEST, 0, 0, 0, s0, s1, 0, 1],
            ip_protocol::ICMPV6 => vec![icmp::V6_ECHO_REQUEST, 0, 0, 0, s0, s1, 0, 1],
            _ => vec![0; 8],
        }
    }
}

fn address(field: &str, text: &str) -> Result<IpAddr, Violation> {
    text.parse().map_err(|_| Violation::new(field, text, "it is not an IP address", "write 10.0.0.7 or fd00:10::7"))
}

/// The protocol's number. "icmp" is that of the destination's family.
fn protocol(text: &str, v4: bool) -> Result<u8, Violation> {
    match text.parse::<Protocol>() {
        Ok(Protocol::ICMP) if !v4 => Ok(ip_protocol::ICMPV6),
        Ok(Protocol::Number(number)) => Ok(number),
        Ok(_) => Err(Violation::new("protocol", text, "a packet has one protocol", "write tcp, udp, icmp or a number")),
        Err(error) => Err(error.violation("protocol")),
    }
}

/// TCP flags as tcpdump writes them.
fn flags(text: &str) -> Result<u8, Violation> {
    if text.is_empty() {
        return Ok(tcp::SYN);
    }
    let bit = |letter| match letter {
        'F' => Ok(tcp::FIN),
        'S' => Ok(tcp::SYN),
        'R' => Ok(tcp::RST),
        'P' => Ok(8),
        '.' => Ok(tcp::ACK),
        'U' => Ok(32),
        _ => Err(Violation::new("tcp_flags", text, "flags are F, S, R, P, U and \".\"", "write them as tcpdump does")),
    };
    text.chars().try_fold(0, |flags, letter| Ok(flags | bit(letter)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn request() -> TraceRequest {
        TraceRequest {
            port: "tenants/a/networks/n/ports/p".to_owned(),
            destination: "10.0.0.12".to_owned(),
            protocol: "tcp".to_owned(),
            destination_port: 443,
            ..TraceRequest::default()
        }
    }

    #[test]
    fn defaults_and_families() {
        let question = Question::read(&request()).unwrap();
        assert_eq!((question.protocol, question.source_port, question.tcp_flags), (6, 49_152, 2));
        let v6 = TraceRequest { destination: "fd00::1".to_owned(), protocol: "icmp".to_owned(), ..request() };
        assert_eq!(Question::read(&v6).unwrap().protocol, 58);
        let flags = TraceRequest { tcp_flags: "S.".to_owned(), ..request() };
        assert_eq!(Question::read(&flags).unwrap().tcp_flags, 18);
    }

    #[test]
    fn every_wrong_field_is_named() {
        let wrong = TraceRequest {
            port: "p".to_owned(),
            destination: "10.0.0".to_owned(),
            protocol: "nonsense".to_owned(),
            destination_port: 65_536,
            source_port: 70_000,
            source: "x".to_owned(),
            tcp_flags: "Q".to_owned(),
        };
        let fields: Vec<_> = Question::read(&wrong).unwrap_err().into_iter().map(|wrong| wrong.field).collect();
        assert_eq!(
            fields,
            ["port", "destination", "source", "protocol", "source_port", "destination_port", "tcp_flags"]
        );
        for (field, request) in [
            ("destination_port", TraceRequest { destination_port: 0, ..request() }),
            ("source", TraceRequest { source: "fd00::1".to_owned(), ..request() }),
            ("protocol", TraceRequest { protocol: "any".to_owned(), ..request() }),
        ] {
            let fields: Vec<_> = Question::read(&request).unwrap_err().into_iter().map(|wrong| wrong.field).collect();
            assert_eq!(fields, [field]);
        }
    }
}
