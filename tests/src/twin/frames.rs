//! Frames by chance: mostly such as workloads and hosts send, some forged, some broken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use andromede_dataplane::Hook;
use andromede_testkit::packet::{ArpPacket, Ends, Ipv6, Mac, Tcp, ethernet, neighbor_solicitation, vxlan};

use crate::chance::Chance;

use super::{
    Met,
    fabric::{
        END_INFRASTRUCTURE, END_LOCAL_A, END_LOCAL_B, END_NODE, END_REMOTE, END_VTEP, End, UNDERLAY_IFINDEX, ifindex,
    },
    talk::VNI,
};

/// Ends of conversations: those that are there, the node and what it knows a port by, the router, and nobody.
const ENDS: [End; 8] =
    [END_LOCAL_A, END_LOCAL_B, END_REMOTE, END_VTEP, END_NODE, END_INFRASTRUCTURE, End(254), End(77)];
/// Ports that the rules know, and others.
const PORTS: [u16; 8] = [80, 8000, 8045, 53, 23, 443, 40_000, 40_001];
/// TCP flags that senders set, and some that none does.
const FLAGS: [u8; 10] = [2, 2, 16, 16, 18, 17, 4, 20, 0, 3];

/// An address that is valid on one link only.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// A source of frames that gives the same ones for the same seed.
#[derive(Clone, Debug)]
pub struct Generator {
    chance: Chance,
    /// Fragments that were made.
    pieces: u32,
}

impl Generator {
    /// From a seed, which is not 0.
    pub const fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed), pieces: 0 }
    }

    const fn next(&mut self) -> u64 {
        self.chance.next()
    }

    const fn below(&mut self, end: usize) -> usize {
        self.chance.below(end)
    }

    const fn one_in(&mut self, times: usize) -> bool {
        self.chance.one_in(times)
    }

    const fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        self.chance.pick(choices)
    }

    /// The next frame.
    pub fn frame(&mut self) -> Met {
        let network = self.below(2);
        let hook = self.pick(&[
            Hook::FromWorkload,
            Hook::FromWorkload,
            Hook::FromUnderlay,
            Hook::FromUnderlay,
            Hook::FromHost,
            Hook::FromOverlay,
        ]);
        let from = match hook {
            Hook::FromWorkload => self.pick(&[END_LOCAL_A, END_LOCAL_B]),
            Hook::FromHost => self.pick(&[END_NODE, END_NODE, END_NODE, END_REMOTE]),
            _ => self.pick(&[END_REMOTE, END_REMOTE, END_VTEP, END_LOCAL_A]),
        };
        let mut frame = self.inner(from);
        if self.one_in(12) {
            self.damage(&mut frame);
        }
        let mut met = match hook {
            Hook::FromUnderlay => Met::new(hook, UNDERLAY_IFINDEX, self.outer(network, &frame)),
            Hook::FromHost => {
                let to = self.pick(&[END_LOCAL_A, END_LOCAL_A, END_LOCAL_B]);
                Met { own: !self.one_in(4), ..Met::new(hook, ifindex(network, to), frame) }
            }
            Hook::FromOverlay => Met::new(hook, UNDERLAY_IFINDEX, frame),
            Hook::FromWorkload => Met::new(hook, ifindex(network, from), frame),
        };
        if self.one_in(40) {
            self.damage(&mut met.frame);
        }
        met.marked = self.one_in(3);
        if self.one_in(30) {
            met.gso_size = 1000;
        }
        met
    }

    fn ends(&mut self, from: End) -> Ends {
        let mut to = self.pick(&ENDS);
        while to == from && !self.one_in(20) {
            to = self.pick(&ENDS);
        }
        let claimed = if self.one_in(25) { self.pick(&ENDS) } else { from };
        let mac = if self.one_in(25) { [2, 9, 9, 9, 9, 9] } else { from.mac() };
        if self.one_in(60) {
            Ends::new((mac, LINK_LOCAL), (to.mac(), to.v6()))
        } else if self.one_in(3) {
            Ends::new((mac, claimed.v6()), (to.mac(), to.v6()))
        } else {
            Ends::new((mac, claimed.v4()), (to.mac(), to.v4()))
        }
    }

    fn inner(&mut self, from: End) -> Vec<u8> {
        let ends = self.ends(from);
        let (source, destination) = (self.pick(&PORTS), self.pick(&PORTS));
        let payload = vec![0x5a; self.below(64)];
        match self.below(21) {
            0..=6 => ends.tcp(&Tcp::new(source, destination, self.pick(&FLAGS)), &payload),
            7..=9 => ends.udp(source, destination, &payload),
            10..=11 => ends.echo(!self.one_in(3), self.pick(&[7, 8]), 1, &payload),
            12 => self.arp(from, ends.source_mac),
            13 => self.solicitation(from, ends.source_mac),
            14..=15 => self.piece(&ends, source, destination),
            16 => ends.ip(self.pick(&[1, 2, 47, 50, 58, 132]), &[8, 0, 0, 0, 0, 1, 0, 1, 9, 9, 9, 9]),
            17..=18 => self.error(&ends, source, destination),
            19 => ends.sctp(source, destination, self.pick(&[0, 7]), self.pick(&[1, 1, 2, 6, 10, 11, 0, 14])),
            _ => self.extended(&ends, source, destination),
        }
    }

    /// An ICMP error, mostly about a packet that its receiver might have sent to somebody.
    fn error(&mut self, ends: &Ends, source: u16, destination: u16) -> Vec<u8> {
        let mut quoted = ends.reversed();
        if self.one_in(2) {
            let other = self.pick(&ENDS);
            quoted.destination = if quoted.source.is_ipv4() { other.v4().into() } else { other.v6().into() };
        }
        let mut about = match self.below(4) {
            0 => quoted.udp(source, destination, b"asked"),
            1 => quoted.echo(true, 7, 1, b"asked"),
            _ => quoted.tcp(&Tcp::new(source, destination, 16), b"asked"),
        };
        if self.one_in(8) {
            self.damage(&mut about);
        }
        let kinds = if ends.source.is_ipv4() { [3, 3, 11, 12, 5] } else { [1, 2, 3, 4, 100] };
        ends.icmp_error((self.pick(&kinds), self.pick(&[0, 1, 4])), &about)
    }

    fn arp(&mut self, from: End, mac: Mac) -> Vec<u8> {
        let target = self.pick(&ENDS).v4();
        let sender = if self.one_in(4) { self.pick(&[Ipv4Addr::UNSPECIFIED, END_REMOTE.v4()]) } else { from.v4() };
        let mut packet = ArpPacket::request(mac, sender, target);
        if self.one_in(8) {
            packet.operation = self.pick(&[2, 3]);
        }
        packet.frame()
    }

    fn solicitation(&mut self, from: End, mac: Mac) -> Vec<u8> {
        let target = self.pick(&ENDS).v6();
        let source = match self.below(5) {
            0 => Ipv6Addr::UNSPECIFIED,
            1 => LINK_LOCAL,
            2 => self.pick(&ENDS).v6(),
            _ => from.v6(),
        };
        neighbor_solicitation(mac, source, target)
    }

    /// A fragment. Those that are made one after the other often are of one datagram, in any order; none is made again after a
    /// while, when the clocks of kernel and memory might differ about its age.
    fn piece(&mut self, ends: &Ends, source: u16, destination: u16) -> Vec<u8> {
        self.pieces += 1;
        let upper = self.pick(&[6, 17, 17, 17, 1, 58, 132, 47]);
        let mut payload = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        payload.extend([0, 0, 0, 1, 0, 0, 0, 1, self.pick(&[0x50, 0x50, 0x70]), self.pick(&FLAGS), 0, 0, 0, 0, 0, 0]);
        if matches!(upper, 1 | 58) {
            payload.splice(..4, [self.pick(&[8, 0, 128, 129, 3, 135]), 0, 0, 0]);
        }
        payload.resize(self.pick(&[8, 16, 20, 24, 24, 24, 40]), 0x5a);
        let offset = self.pick(&[0, 0, 0, 1, 2, 3, 3, 3, 4, 5, 8000, 8191]);
        let more = payload.len() % 8 == 0 && !self.one_in(3);
        ends.loose_piece(self.pieces / 256, upper, offset, more, &payload)
    }

    /// IPv6 with extension headers in front of a UDP datagram.
    fn extended(&mut self, ends: &Ends, source: u16, destination: u16) -> Vec<u8> {
        let (IpAddr::V6(from), IpAddr::V6(to)) = (ends.source, ends.destination) else {
            return ends.udp(source, destination, &[]);
        };
        let mut payload = ends.udp(source, destination, &[1, 2, 3, 4]).split_off(14 + 40);
        let mut next = 17;
        for _ in 0..self.below(6) {
            let extension = [next, self.pick(&[0, 0, 1]), 1, 4, 0, 0, 0, 0];
            let length = usize::from(extension[1]) * 8;
            payload.splice(..0, extension.into_iter().chain(std::iter::repeat_n(0, length)));
            next = self.pick(&[0, 60, 60, 43, 44]);
        }
        ethernet(ends.destination_mac, ends.source_mac, 0x86dd, &Ipv6::new(from, to).wrap(next, &payload))
    }

    fn outer(&mut self, network: usize, inner: &[u8]) -> Vec<u8> {
        let own = if network == 0 { 9 } else { 8 };
        let sender = self.pick(&[2, 2, 2, own, own, 7, 17 - own]);
        let here = if self.one_in(30) { 3 } else { 1 };
        let ends = Ends::new(
            ([2, 0, 0, 0, 1, sender], Ipv4Addr::new(192, 0, 2, sender)),
            ([2, 0, 0, 0, 1, 1], Ipv4Addr::new(192, 0, 2, here)),
        );
        let vni = if self.one_in(20) { 99 } else { VNI[network] };
        vxlan(&ends, 50_000, vni, inner)
    }

    /// Changes a byte, or cuts the end off.
    fn damage(&mut self, frame: &mut Vec<u8>) {
        if self.one_in(2) {
            let length = self.below(frame.len()) + 1;
            frame.truncate(length);
        } else {
            let place = self.below(frame.len().min(120));
            frame[place] = self.next() as u8;
        }
    }
}
