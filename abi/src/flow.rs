//! Connections.

use crate::{
    Address,
    identifiers::{HostIndex, Mac, NetworkIndex, RuleNumber, Slot},
    meter::MeterIndex,
    pod::row,
};

/// Key of `flows`, the same for both directions: the lower of the two (address, port) pairs stands first.
/// Pairs are compared as big-endian bytes, the address before the port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// The network.
    pub network: NetworkIndex,
    /// The lower address.
    pub low: Address,
    /// The higher address.
    pub high: Address,
    /// Port of the lower side, network byte order; the identifier for an ICMP echo, type and code for another ICMP message;
    /// 0 where the protocol has none.
    pub low_port: u16,
    /// Port of the higher side, likewise.
    pub high_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// See [`flow_class`].
    pub class: u8,
    /// Zero.
    pub reserved: [u8; 2],
}
row!(FlowKey, 44, u32, Address, Address, u16, u16, u8, u8, [u8; 2]);

/// Values of [`FlowKey::class`]: what keeps ICMP messages of different kinds in different connections.
pub mod flow_class {
    /// Told apart by ports, or not at all.
    pub const PORTS: u8 = 0;
    /// An ICMP echo that the lower side asks for.
    pub const ECHO_FROM_LOW: u8 = 1;
    /// An ICMP echo that the higher side asks for.
    pub const ECHO_FROM_HIGH: u8 = 2;
    /// Another ICMP message; its type and code stand for both ports.
    pub const MESSAGE: u8 = 3;
}

impl FlowKey {
    /// A 32-bit mixture of the key: part of the row's owner word, and the source of the outer UDP port. Never 0.
    ///
    /// Sums of products of pairs of words, none of which waits for another (Black, Halevi, Krawczyk, Krovetz and Rogaway,
    /// "UMAC", 1999, section 3; with constants for its key): it is computed for every packet.
    #[inline(always)]
    pub const fn tag(&self) -> u32 {
        const fn pair(x: u32, key_x: u32, y: u32, key_y: u32) -> u64 {
            (x as u64).wrapping_add(key_x as u64).wrapping_mul((y as u64).wrapping_add(key_y as u64))
        }
        let [a, b, c, d] = self.low.0;
        let [e, f, g, h] = self.high.0;
        let ports = (self.low_port as u32) << 16 | self.high_port as u32;
        let kind = (self.class as u32) << 8 | self.protocol as u32;
        let sum = pair(a, 0x243f_6a88, b, 0x05a3_08d3)
            .wrapping_add(pair(c, 0x1319_8a2e, d, 0x0370_7345))
            .wrapping_add(pair(e, 0x2409_3823, f, 0x299f_31d0))
            .wrapping_add(pair(g, 0x082e_fa98, h, 0x6c4e_6c89))
            .wrapping_add(pair(ports, 0x4528_21e7, self.network, 0x38d0_1377))
            .wrapping_add(pair(kind, 0x3e54_66cf, ports, 0x34e9_0c6d));
        ((sum >> 32) as u32 ^ sum as u32) | 1
    }

    /// The state of the connection in a word, for people. TCP and SCTP open by a handshake.
    pub const fn state_name(&self, state: u32) -> &'static str {
        const TCP: u8 = 6;
        const SCTP: u8 = 132;
        flow_state::name(state, matches!(self.protocol, TCP | SCTP))
    }

    /// The owner word of the row for this key.
    #[inline(always)]
    pub const fn owner(&self) -> u64 {
        (self.network as u64) << 32 | self.tag() as u64
    }
}

/// What a side was judged by: the flow is stale as soon as `epochs[slot]` is not `epoch`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EndpointMark {
    /// Slot of the local port or of the remote location.
    pub slot: Slot,
    /// Its epoch when the flow was judged.
    pub epoch: u32,
}
row!(EndpointMark, 8, u32, u32);

/// Who opened the connection, or: which way does a packet go.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the lower side to the higher.
    LowToHigh = 0,
    /// From the higher side to the lower.
    HighToLow = 1,
}

/// Values of a side's kind in [`FlowRow::low_kind`] and [`FlowRow::high_kind`].
pub mod side_kind {
    /// A port of this host: deliver to the side's `ifindex`.
    pub const LOCAL: u8 = 1;
    /// Elsewhere: encapsulate towards [`super::FlowRow::next_hop`].
    pub const REMOTE: u8 = 2;
    /// The node itself: left to its own network stack. The next hop names this host, and nothing else.
    pub const HOST: u8 = 3;
}

/// Bits of [`FlowRow::flags`].
pub mod flow_flag {
    /// The higher side opened the connection; otherwise the lower.
    pub const HIGH_INITIATED: u16 = 1 << 0;
    /// The egress rule that let it out when it was opened says that it survives the rule (`existing: keep`).
    pub const EGRESS_KEEPS: u16 = 1 << 1;
    /// The ingress rule that let it in when it was opened says so.
    pub const INGRESS_KEEPS: u16 = 1 << 2;
    /// What stays as it is when a connection is judged again.
    pub const LASTING: u16 = EGRESS_KEEPS | INGRESS_KEEPS;
    /// The lower side is a port of this host whose receiving is policed.
    pub const LOW_POLICED: u16 = 1 << 8;
    /// The higher side is one.
    pub const HIGH_POLICED: u16 = 1 << 9;
}

/// Bits of [`FlowRow::state`].
pub mod flow_state {
    /// The answerer has answered: with TCP by its SYN, with SCTP by an INIT ACK or its own INIT, otherwise by anything.
    pub const REPLIED: u32 = 1 << 0;
    /// The initiator's FIN was seen.
    pub const FIN_FORWARD: u32 = 1 << 1;
    /// The answerer's FIN was seen.
    pub const FIN_BACKWARD: u32 = 1 << 2;
    /// A TCP reset of the initiator was seen, or an SCTP ABORT or SHUTDOWN COMPLETE.
    pub const RESET_FORWARD: u32 = 1 << 3;
    /// A permission was taken away: nothing passes, and the answerer cannot open the flow again.
    pub const CUT: u32 = 1 << 4;
    /// The initiator has acknowledged the answer: with TCP by an ACK, with SCTP by a COOKIE ECHO.
    pub const ESTABLISHED: u32 = 1 << 5;
    /// As [`RESET_FORWARD`], of the answerer.
    pub const RESET_BACKWARD: u32 = 1 << 6;
    /// The answerer opened too: its SYN came without ACK (RFC 9293, section 3.5), or its INIT met the other (RFC 9260, section 5.2.1).
    pub const CROSSED: u32 = 1 << 7;

    /// A reset of either side.
    pub const RESET: u32 = RESET_FORWARD | RESET_BACKWARD;
    /// The FINs of both sides.
    pub const BOTH_FINS: u32 = FIN_FORWARD | FIN_BACKWARD;

    /// Is the connection over, so that an opening packet begins another?
    #[inline(always)]
    pub const fn is_closed(state: u32) -> bool {
        state & RESET != 0 || state & BOTH_FINS == BOTH_FINS
    }

    /// The state in a word, for people. `is_opened` says that connections of this protocol are opened by a handshake, as those of
    /// TCP and SCTP are.
    pub const fn name(state: u32, is_opened: bool) -> &'static str {
        if state & CUT != 0 {
            "cut"
        } else if state & RESET != 0 {
            "reset"
        } else if state & BOTH_FINS == BOTH_FINS {
            "closed"
        } else if state & BOTH_FINS != 0 {
            "closing"
        } else if state & ESTABLISHED != 0 {
            "established"
        } else if is_opened {
            "half-open"
        } else if state & REPLIED != 0 {
            "replied"
        } else {
            "new"
        }
    }
}

/// Bits of [`FlowRow::hold`]; the others are those of the connection's number. A row whose hold is 0 counts nowhere.
pub mod flow_hold {
    /// It counts as half-open too.
    pub const HALF_OPEN: u64 = 1 << 0;
    /// Somebody is removing the row or writing another over it.
    pub const LOCKED: u64 = 1 << 1;
    /// The bits that are not the connection's.
    pub const BITS: u64 = HALF_OPEN | LOCKED;
}

/// How to reach the remote side: what encapsulation needs, copied from the location and its host.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NextHop {
    /// The remote host; the decapsulation guard compares it with the sender.
    pub host: HostIndex,
    /// Index of the underlay interface.
    pub ifindex: u32,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// See [`crate::encapsulation`].
    pub encapsulation: u8,
    /// Key between the hosts (reserved for encryption).
    pub key_id: u8,
    /// What packets that go there count to, see [`crate::meter_place`].
    pub place: u16,
    /// Address of the remote tunnel endpoint.
    pub underlay: Address,
    /// Next hop on the underlay.
    pub gateway: Address,
}
row!(NextHop, 48, u32, u32, u32, u8, u8, u16, Address, Address);

impl NextHop {
    /// No remote side.
    pub const NONE: Self = Self {
        host: 0,
        ifindex: 0,
        vni: 0,
        encapsulation: 0,
        key_id: 0,
        place: 0,
        underlay: Address::UNSPECIFIED,
        gateway: Address::UNSPECIFIED,
    };
}

/// Row of `flows`: a connection that both directions share. It holds all that an established packet needs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRow {
    /// [`FlowKey::owner`]; checked again after copying.
    pub owner: u64,
    /// Number of the connection, unique on the host while it lives.
    pub connection: u64,
    /// What the lower side was judged by.
    pub low: EndpointMark,
    /// What the higher side was judged by.
    pub high: EndpointMark,
    /// When a packet was last seen that shows the connection to be alive: nanoseconds since boot, written at most once a second.
    pub seen: u64,
    /// See [`flow_state`].
    pub state: u32,
    /// Seconds without a packet after which the row is over; written together with the state, of which it follows.
    pub lifetime: u32,
    /// See [`flow_flag`].
    pub flags: u16,
    /// See [`side_kind`].
    pub low_kind: u8,
    /// See [`side_kind`].
    pub high_kind: u8,
    /// Rule that let it leave, if the initiator is local.
    pub egress_rule: RuleNumber,
    /// Rule that let it in, if the answerer is local.
    pub ingress_rule: RuleNumber,
    /// Host-side interface of the lower side, if it is local.
    pub low_ifindex: u32,
    /// Host-side interface of the higher side, if it is local.
    pub high_ifindex: u32,
    /// Ethernet address of the lower side.
    pub low_mac: Mac,
    /// Ethernet address of the higher side.
    pub high_mac: Mac,
    /// Rule that cut it, if it was cut.
    pub cut_rule: RuleNumber,
    /// Number of the network's tenant.
    pub tenant: u32,
    /// How to reach the side that is not local.
    pub next_hop: NextHop,
    /// Slot of the port whose budget the row counts against as the side that opened it; 0: none.
    pub initiator_budget: Slot,
    /// Slot of the port whose budget the row counts against as the side that answers; 0: none.
    pub answerer_budget: Slot,
    /// What the row holds of its budgets, see [`flow_hold`]. It changes in one instruction, and whoever changed it does what the change
    /// asks for: so what a row took is given back once, whoever removes it.
    pub hold: u64,
    /// The row of the network's meter.
    pub meter: MeterIndex,
    /// What packets of the lower side count to, see [`crate::meter_place`].
    pub low_place: u8,
    /// What packets of the higher side count to.
    pub high_place: u8,
    /// Zero: translation and backend come here.
    pub reserved: [u32; 9],
}
row!(
    FlowRow,
    192,
    u64,
    u64,
    EndpointMark,
    EndpointMark,
    u64,
    u32,
    u32,
    u16,
    u8,
    u8,
    [u32; 4],
    Mac,
    Mac,
    u32,
    u32,
    NextHop,
    u32,
    u32,
    u64,
    u16,
    [u8; 2],
    [u32; 9]
);

impl FlowRow {
    /// Is it over for want of packets? `now` is in nanoseconds since boot, and may be a little behind `seen`.
    #[inline(always)]
    pub const fn is_over(&self, now: u64) -> bool {
        const SECOND: u64 = 1_000_000_000;
        now.saturating_sub(self.seen) > (self.lifetime as u64).wrapping_mul(SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_that_tells_most_is_named() {
        use flow_state::{
            BOTH_FINS, CUT, ESTABLISHED, FIN_BACKWARD, FIN_FORWARD, REPLIED, RESET_BACKWARD, RESET_FORWARD, name,
        };
        let cases = [
            (0, "half-open"),
            (REPLIED, "half-open"),
            (REPLIED | ESTABLISHED, "established"),
            (REPLIED | ESTABLISHED | FIN_FORWARD, "closing"),
            (REPLIED | ESTABLISHED | FIN_BACKWARD, "closing"),
            (REPLIED | ESTABLISHED | BOTH_FINS, "closed"),
            (REPLIED | ESTABLISHED | FIN_FORWARD | RESET_FORWARD, "reset"),
            (RESET_BACKWARD, "reset"),
            (REPLIED | ESTABLISHED | RESET_BACKWARD | CUT, "cut"),
        ];
        for (state, expected) in cases {
            assert_eq!(name(state, true), expected);
        }
        assert_eq!([name(0, false), name(REPLIED, false)], ["new", "replied"]);
    }

    #[test]
    fn tags_differ_where_keys_do() {
        let key = |low_port: u16, network| FlowKey {
            network,
            low: Address::from_v4_word(0x0100_000a),
            high: Address::from_v4_word(0x0200_000a),
            low_port,
            high_port: 80,
            protocol: 6,
            class: flow_class::PORTS,
            reserved: [0; 2],
        };
        let same = (0..10_000u16).filter(|port| key(*port, 1).tag() == key(port.wrapping_add(1), 1).tag()).count();
        assert!(same < 3, "{same} neighbours share a tag");
        assert_ne!(key(1, 1).owner(), key(1, 2).owner());
        // What becomes the outer UDP port spreads: of 16,384 ports, 10,000 keys by chance take 7,485.
        let mut taken = [false; 1 << 14];
        for keys in [0, 1] {
            taken.fill(false);
            for number in 0..10_000_u16 {
                let mut key = key(if keys == 0 { number } else { 7 }, 1);
                key.high = if keys == 0 { key.high } else { Address::from_v4_word(u32::from(number).to_be()) };
                taken[(key.tag() >> 16) as usize & 0x3fff] = true;
            }
            let count = taken.iter().filter(|taken| **taken).count();
            assert!(count > 5_000, "{count} ports");
        }
    }
}
