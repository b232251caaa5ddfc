//! The headers of a packet, read once.

use andromede_abi::{Address, Direction, FlowKey, NetworkIndex, flow_class};

use crate::{
    fragment::Fragment,
    frame::MAX_OFFSET,
    wire::{icmp, ip_protocol, sctp, tcp},
};

/// What the fabric does with the layer above IP.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A protocol without ports.
    Other = 0,
    /// TCP.
    Tcp = 1,
    /// UDP.
    Udp = 2,
    /// An echo request.
    EchoRequest = 3,
    /// An echo reply.
    EchoReply = 4,
    /// Another ICMP message.
    Message = 5,
    /// SCTP.
    Sctp = 6,
    /// An ICMP error: it quotes the packet that it is about.
    Error = 7,
}

impl Transport {
    /// The kind with this number; what has another is of no protocol with ports.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Tcp,
            2 => Self::Udp,
            3 => Self::EchoRequest,
            4 => Self::EchoReply,
            5 => Self::Message,
            6 => Self::Sctp,
            7 => Self::Error,
            _ => Self::Other,
        }
    }
}

/// The headers of a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Which part of its datagram it is.
    pub fragment: Fragment,
    /// Source port, network byte order; the identifier for an echo, type and code for another ICMP message; 0 where there is
    /// none.
    pub source_port: u16,
    /// Destination port, likewise.
    pub destination_port: u16,
    /// What rules compare: destination port, or type and code of ICMP; network byte order.
    pub service_port: u16,
    /// IP protocol number of the upper layer.
    pub protocol: u8,
    /// See [`Transport`].
    pub transport: Transport,
    /// TCP flags, see [`tcp`].
    pub tcp_flags: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Bytes of the IP header and what is known of the header above it: what each segment of a GSO frame repeats.
    pub header_length: u16,
    /// Offset of the upper layer in the frame, bytes.
    pub transport_offset: u16,
    /// Type of the first SCTP chunk, see [`sctp::chunk`].
    pub chunk: u8,
    /// Zero.
    pub reserved: u8,
    /// Payload bytes of each segment of a GSO frame, or 0.
    pub gso_size: u32,
}

impl Packet {
    /// Nothing was read yet.
    pub const UNREAD: Self = Self {
        source: Address::UNSPECIFIED,
        destination: Address::UNSPECIFIED,
        fragment: Fragment::WHOLE,
        source_port: 0,
        destination_port: 0,
        service_port: 0,
        protocol: 0,
        transport: Transport::Other,
        tcp_flags: 0,
        hop_limit: 0,
        header_length: 0,
        transport_offset: 0,
        chunk: 0,
        reserved: 0,
        gso_size: 0,
    };

    /// Where the upper layer begins. The bound, which every packet that was read keeps, is said here anew: Linux 6.1 forgets it while
    /// the offset lies in memory, and refuses what is read there.
    #[inline(always)]
    pub(crate) const fn transport_at(&self) -> usize {
        const { assert!(MAX_OFFSET.is_power_of_two()) };
        self.transport_offset as usize & (2 * MAX_OFFSET - 1)
    }

    /// May a packet like this begin a connection? TCP begins by SYN alone, SCTP by INIT, an echo by its request, and an error is
    /// about one that is there.
    #[inline(always)]
    pub const fn opens(&self) -> bool {
        match self.transport {
            Transport::Tcp => self.is_syn(),
            Transport::Sctp => self.chunk == sctp::chunk::INIT,
            Transport::EchoReply | Transport::Error => false,
            Transport::Other | Transport::Udp | Transport::EchoRequest | Transport::Message => true,
        }
    }

    /// A TCP segment with SYN and without ACK.
    #[inline(always)]
    pub const fn is_syn(&self) -> bool {
        matches!(self.transport, Transport::Tcp) && self.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
    }

    /// Begins its connection by a handshake: TCP and SCTP.
    #[inline(always)]
    pub const fn has_handshake(&self) -> bool {
        matches!(self.transport, Transport::Tcp | Transport::Sctp)
    }

    /// A TCP segment with SYN and ACK.
    #[inline(always)]
    pub const fn is_syn_ack(&self) -> bool {
        matches!(self.transport, Transport::Tcp) && self.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK
    }

    /// Makes it the packet that it answers: addresses and ports change places.
    #[inline(always)]
    pub fn reverse(&mut self) {
        self.service_port = self.reversed_service();
        core::mem::swap(&mut self.source, &mut self.destination);
        core::mem::swap(&mut self.source_port, &mut self.destination_port);
    }

    /// What a rule would compare in the packet that opened the connection of which this one is an answer.
    #[inline(always)]
    const fn reversed_service(&self) -> u16 {
        match self.transport {
            Transport::Tcp | Transport::Udp | Transport::Sctp => self.source_port,
            Transport::EchoReply if self.protocol == ip_protocol::ICMP => icmp::ECHO_REQUEST_SERVICE,
            Transport::EchoReply => icmp::V6_ECHO_REQUEST_SERVICE,
            Transport::EchoRequest | Transport::Other | Transport::Message | Transport::Error => self.service_port,
        }
    }
}

/// Writes the key of the packet's connection, and returns which way the packet goes.
#[inline(always)]
pub fn flow_key(network: NetworkIndex, packet: &Packet, key: &mut FlowKey) -> Direction {
    let direction = direction(packet);
    key.network = network;
    key.protocol = packet.protocol;
    key.class = class(packet, direction);
    key.reserved = [0; 2];
    match direction {
        Direction::LowToHigh => {
            (key.low, key.low_port) = (packet.source, packet.source_port);
            (key.high, key.high_port) = (packet.destination, packet.destination_port);
        }
        Direction::HighToLow => {
            (key.low, key.low_port) = (packet.destination, packet.destination_port);
            (key.high, key.high_port) = (packet.source, packet.source_port);
        }
    }
    direction
}

/// What keeps the packet's connection apart from others of the same addresses and ports.
#[inline(always)]
const fn class(packet: &Packet, direction: Direction) -> u8 {
    match (packet.transport, direction) {
        (Transport::EchoRequest, Direction::LowToHigh) | (Transport::EchoReply, Direction::HighToLow) => {
            flow_class::ECHO_FROM_LOW
        }
        (Transport::EchoRequest | Transport::EchoReply, _) => flow_class::ECHO_FROM_HIGH,
        (Transport::Message, _) => flow_class::MESSAGE,
        _ => flow_class::PORTS,
    }
}

/// Which of the two sides is the lower one: by address, then by port, as big-endian bytes.
#[inline(always)]
fn direction(packet: &Packet) -> Direction {
    let [s0, s1, s2, s3] = packet.source.0;
    let [d0, d1, d2, d3] = packet.destination.0;
    let pairs = [(s0, d0), (s1, d1), (s2, d2), (s3, d3)];
    for (source, destination) in pairs {
        if source != destination {
            return lower_first(u32::from_be(source), u32::from_be(destination));
        }
    }
    lower_first(u16::from_be(packet.source_port) as u32, u16::from_be(packet.destination_port) as u32)
}

#[inline(always)]
const fn lower_first(source: u32, destination: u32) -> Direction {
    if source <= destination { Direction::LowToHigh } else { Direction::HighToLow }
}
