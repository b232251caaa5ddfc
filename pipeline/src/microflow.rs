//! What was decided about a packet a moment ago, for the next packet of its connection that goes the same way.
//!
//! Most packets are of a connection that is open, come whole, over IPv4, and ask nothing of any table. What their headers must say for
//! all of the walk to give what it gave last is a few words: where they were met, who sent them, both addresses and ports. The decision
//! about the last such packet is kept with these words, and with the time of the flow row by which it was made.
//!
//! It counts for as long as the walk would not write to that row: at most a second behind the row's own time. Whoever keeps it sees to
//! it that no table of configuration has changed since it was made. What changes in the row meanwhile is the state of a connection that
//! goes on, which only ever lets more pass; a row that is cut is one whose rules were judged again, after a change. Packets that open,
//! close or reset end what was kept for their sender. They, and those that are fragments, carry options or come with a tag, go the whole
//! way, as does the first packet in every second.

use andromede_abi::{HostConfig, MeterIndex, NextHop, Stage, flow_state, hook};

use crate::{
    claim,
    context::Context,
    encapsulate::OVERHEAD,
    frame::Frame,
    scratch::Scratch,
    stage::{
        connection::{self, TOUCH_INTERVAL},
        forward,
    },
    verdict::{TargetKind, Verdict},
    wire::{ethernet, ip, ip_protocol, tcp, vxlan},
};

/// What the headers of a packet say, if they are all plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Ethernet source and type, as they stand in the frame.
    ethernet: u64,
    /// Source and destination address of IPv4, likewise.
    addresses: u64,
    /// Source and destination port, likewise.
    ports: u32,
    /// The interface of a workload, or the VXLAN network identifier as it stands in the header.
    door: u32,
    /// Outer source address as it stands in the frame; 0 from a workload.
    sender: u32,
    /// IP protocol, above it the hook, and above that [`CHANGES`]; 0: the headers are not plain.
    kind: u32,
    /// Bytes of the largest frame that it becomes.
    largest: u32,
    /// Bytes of the frame as the workload sees it.
    length: u32,
    /// Payload bytes of each segment of a GSO frame, or 0.
    gso_size: u32,
    /// Bytes of the headers that each segment repeats behind the Ethernet header.
    headers: u32,
}

impl Sight {
    /// The headers are not plain, or were not looked at.
    pub const NONE: Self = Self {
        ethernet: 0,
        addresses: 0,
        ports: 0,
        door: 0,
        sender: 0,
        kind: 0,
        largest: 0,
        length: 0,
        gso_size: 0,
        headers: 0,
    };

    /// Looks at a frame that was met at this hook: it is a packet of TCP or UDP over IPv4, and of none but the plainest form.
    #[inline(always)]
    pub fn of<F: Frame>(frame: &F, context: &Context<'_>) -> Self {
        look(frame, context).unwrap_or(Self::NONE)
    }

    /// Are the headers plain?
    #[inline(always)]
    pub const fn is_plain(&self) -> bool {
        self.kind != 0
    }

    /// Does the packet change the state of its connection? Then what was decided about the last one of its sender counts no more.
    #[inline(always)]
    pub const fn changes(&self) -> bool {
        self.kind & CHANGES != 0
    }

    /// A number by which to look for what was decided.
    #[inline(always)]
    pub const fn place(&self) -> u32 {
        let addresses = (self.addresses >> 32) as u32 ^ (self.addresses as u32).rotate_left(11);
        (addresses ^ self.ports.rotate_left(5) ^ self.door).wrapping_mul(0x9e37_79b1) >> 16
    }
}

#[inline(always)]
fn look<F: Frame>(frame: &F, context: &Context<'_>) -> Option<Sight> {
    if context.tagged {
        return None;
    }
    let is_tunnelled = context.hook == hook::FROM_UNDERLAY;
    let (door, sender) = if is_tunnelled { outer(frame, context.host)? } else { (context.ifindex, 0) };
    let base = if is_tunnelled { OVERHEAD } else { 0 };
    // The Ethernet header from its source on, IPv4 without options, and eight bytes of what it carries.
    let [mac, kind, first, second, third, source, destination, ports, _]: [u32; 9] =
        frame.load(base.wrapping_add(ethernet::SOURCE))?;
    let [_, _, high, low] = kind.to_ne_bytes();
    let is_v4 = u16::from_ne_bytes([high, low]) == ethernet::TYPE_IPV4;
    let (first, second) = (u32::from_be(first), u32::from_be(second));
    let there = frame.len().wrapping_sub(base.wrapping_add(ethernet::HEADER) as u32);
    let total = first & 0xffff;
    if !is_v4 || first >> 24 != PLAIN_V4 || second & ip::V4_FRAGMENT != 0 {
        return None;
    }
    if total < ip::V4_HEADER as u32 || total > there {
        return None;
    }
    let protocol = (u32::from_be(third) >> 16) & 0xff;
    let (header, changes) = match protocol as u8 {
        // A train of datagrams goes another way behind a tunnel.
        ip_protocol::UDP if is_tunnelled && context.gso_size != 0 => return None,
        ip_protocol::UDP => (8, 0),
        ip_protocol::TCP => tcp_header(frame, base.wrapping_add(ethernet::HEADER).wrapping_add(ip::V4_HEADER))?,
        _ => return None,
    };
    let header = (ip::V4_HEADER as u32).wrapping_add(header);
    let length = frame.len().wrapping_sub(base as u32);
    Some(Sight {
        ethernet: mac as u64 | (kind as u64) << 32,
        addresses: source as u64 | (destination as u64) << 32,
        ports,
        door,
        sender,
        kind: protocol | (context.hook as u32) << 8 | changes,
        largest: forward::largest(context.gso_size, header, length),
        length,
        gso_size: context.gso_size,
        headers: header,
    })
}

/// The VXLAN network identifier and the sender of a plain outer header for this host, as they stand there.
#[inline(always)]
fn outer<F: Frame>(frame: &F, host: &HostConfig) -> Option<(u32, u32)> {
    let kind: u16 = frame.load(ethernet::TYPE)?;
    let [first, second, third, source, destination, ports, _, flags, vni]: [u32; 9] = frame.load(ethernet::HEADER)?;
    let (first, third) = (u32::from_be(first), u32::from_be(third));
    let port = (u32::from_be(ports) as u16).to_be();
    let is_plain = kind == ethernet::TYPE_IPV4
        && first >> 24 == PLAIN_V4
        && u32::from_be(second) & ip::V4_FRAGMENT == 0
        && (third >> 16) as u8 == ip_protocol::UDP;
    let is_ours = destination == host.underlay_v4 && port == host.vxlan_port;
    (is_plain && is_ours && u32::from_be(flags) & vxlan::FLAG_VNI != 0).then_some((vni, source))
}

/// Bytes of a TCP header, and whether it says more than that something arrived.
#[inline(always)]
fn tcp_header<F: Frame>(frame: &F, at: usize) -> Option<(u32, u32)> {
    let [_, _, _, control, _]: [u32; tcp::HEADER / 4] = frame.load(at)?;
    let control = u32::from_be(control) >> 16;
    let header = (control >> 12).wrapping_mul(4);
    let flags = control as u8 & 0x3f;
    let changes = if flags & !tcp::PSH == tcp::ACK { 0 } else { CHANGES };
    (header >= tcp::HEADER as u32).then_some((header, changes))
}

/// The segment opens, closes or resets.
const CHANGES: u32 = 1 << 16;

/// The first byte of an IPv4 header without options.
const PLAIN_V4: u32 = 0x45;

/// What was decided about the last packet of a connection that went this way.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Microflow {
    ethernet: u64,
    addresses: u64,
    ports: u32,
    door: u32,
    sender: u32,
    kind: u32,
    /// The time of the row.
    seen: u64,
    /// Bytes of the largest frame that the underlay carries, if it is encapsulated.
    largest: u32,
    /// The meter of its network.
    meter: MeterIndex,
    reserved: u16,
    verdict: Verdict,
    next_hop: NextHop,
}

impl Microflow {
    /// Is what was decided about this packet what would be decided about one that is seen now?
    #[inline(always)]
    pub const fn is_of(&self, sight: &Sight, now: u64) -> bool {
        let differing = (self.ethernet ^ sight.ethernet)
            | (self.addresses ^ sight.addresses)
            | (self.ports ^ sight.ports) as u64
            | (self.door ^ sight.door) as u64
            | (self.sender ^ sight.sender) as u64
            | (self.kind ^ sight.kind) as u64;
        differing == 0 && now.saturating_sub(self.seen) <= TOUCH_INTERVAL && sight.largest <= self.largest
    }

    /// The same is decided about the packet of this scratch space that looks so, which asks nothing of any table. What is read of it
    /// afterwards is what its network's meter counts.
    #[inline(always)]
    pub const fn apply(&self, sight: &Sight, scratch: &mut Scratch) {
        scratch.verdict = self.verdict;
        scratch.row.next_hop = self.next_hop;
        scratch.row.meter = self.meter;
        scratch.opening.frame_length = sight.length;
        scratch.packet.gso_size = sight.gso_size;
        scratch.packet.header_length = sight.headers as u16;
        (scratch.logged, scratch.reported) = (0, 0);
    }

    /// Is what was decided about the packet in the scratch space the same for the next one, for a while?
    #[inline(always)]
    pub fn may_be_kept(scratch: &Scratch, now: u64) -> bool {
        let Scratch { verdict, row, packet, .. } = scratch;
        let passes = matches!(verdict.target.kind, TargetKind::Deliver | TargetKind::Encap);
        let ends = row.state & (flow_state::CUT | flow_state::RESET | flow_state::BOTH_FINS) != 0;
        let is_open = !packet.has_handshake() || row.state & OPEN == OPEN;
        passes
            && matches!(verdict.stage, Stage::Flow)
            && !claim::is_asked(scratch)
            && is_open
            && !ends
            && row.lifetime != 0
            && connection::age(row, now) >= YOUNG
    }

    /// Becomes what was decided about the packet in the scratch space, which looks so.
    #[inline(always)]
    pub const fn keep(&mut self, sight: &Sight, scratch: &Scratch, host: &HostConfig) {
        (self.ethernet, self.addresses, self.ports) = (sight.ethernet, sight.addresses, sight.ports);
        (self.door, self.sender, self.kind) = (sight.door, sight.sender, sight.kind);
        let is_encapsulated = matches!(scratch.verdict.target.kind, TargetKind::Encap);
        self.largest = if is_encapsulated { forward::carried(host) } else { u32::MAX };
        self.meter = scratch.row.meter;
        self.seen = scratch.row.seen;
        // One after the other: a tuple of them would take their room on the stack.
        self.verdict = scratch.verdict;
        self.next_hop = scratch.row.next_hop;
    }
}

/// Steps of [`connection::age`] after which it pays to keep what is decided: short connections are over by then.
const YOUNG: u32 = 8;

/// Both sides of a connection have agreed to it.
const OPEN: u32 = flow_state::REPLIED | flow_state::ESTABLISHED;
