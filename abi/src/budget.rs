//! What a port and a tenant may take of a host: limits, and how much of them is taken.

use crate::pod::row;

/// Limits of a port. 0 is no limit.
///
/// Rates are policed: there is no queue. A bucket holds what the rate gives in a tenth of a second
/// ([`RATE_BURST_NANOS`]); of new flows, in a second ([`NEW_FLOW_BURST_NANOS`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PortLimits {
    /// Connections that others opened to the port.
    pub flows_inbound: u32,
    /// Connections that the port opened.
    pub flows_outbound: u32,
    /// Connections that are not answered yet (TCP: not established), of each direction.
    pub half_open: u32,
    /// New connections a second, of each direction.
    pub new_flows_per_second: u32,
    /// Packets a second that the workload sends.
    pub transmit_packets: u32,
    /// Thousand bits a second that the workload sends, counted from the Ethernet header on.
    pub transmit_kilobits: u32,
    /// Packets a second that the workload receives.
    pub receive_packets: u32,
    /// Thousand bits a second that the workload receives.
    pub receive_kilobits: u32,
}
row!(PortLimits, 32, [u32; 8]);

/// Nanoseconds of a rate of packets or bits that may come at once after a quiet time.
pub const RATE_BURST_NANOS: u64 = 100_000_000;
/// Nanoseconds of the rate of new flows that may come at once after a quiet time.
pub const NEW_FLOW_BURST_NANOS: u64 = 1_000_000_000;

/// Bit of the keys of `usage` that says: this is the number of a tenant. Without it, it is the slot of a port.
pub const TENANT_USAGE: u32 = 1 << 31;

/// Which word of a [`UsageRow`].
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Connections that others opened to the port; of a tenant's row: all connections of the tenant.
    Inbound = 0,
    /// Connections that the port opened.
    Outbound = 1,
    /// Of those that others opened: not answered yet.
    InboundHalfOpen = 2,
    /// Of those that the port opened: not answered yet.
    OutboundHalfOpen = 3,
    /// Bucket of new connections that the port opens. A bucket is a time, nanoseconds since boot: when all that was taken will have
    /// been earned.
    NewOutbound = 4,
    /// Bucket of packets sent.
    TransmitPackets = 5,
    /// Bucket of bits sent.
    TransmitBits = 6,
    /// Bucket of packets received.
    ReceivePackets = 7,
    /// Bucket of bits received.
    ReceiveBits = 8,
    /// Bucket of new connections that others open to the port: however many, the port can open its own.
    NewInbound = 9,
    /// Bucket of events that rules send, see [`crate::RuleEvent`]; of a tenant's row: of all its ports.
    RuleEvents = 10,
    /// Events of the port's rules that were not sent, for want of a token or of room.
    RuleEventsLost = 11,
}

impl Usage {
    /// The words that count connections.
    pub const COUNTS: [Self; 4] = [Self::Inbound, Self::Outbound, Self::InboundHalfOpen, Self::OutboundHalfOpen];
}

/// Row of `usage`, keyed by the slot of a port, or by the number of a tenant and [`TENANT_USAGE`]. Each word is read and changed by
/// itself, in one instruction; the packet path makes the row when it is first counted on, and the agent removes it when
/// nothing counts on it and its slot is nobody's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// See [`Usage`]; those behind the last are zero.
    pub words: [u64; 16],
}
row!(UsageRow, 128, [u64; 16]);

impl UsageRow {
    /// Nothing is taken.
    pub const NONE: Self = Self { words: [0; 16] };

    /// One word.
    pub fn get(&self, usage: Usage) -> u64 {
        self.words.get(usage as usize).copied().unwrap_or(0)
    }
}

/// Row 0 of `reaper`: what the kernel needs to remove connections that are over when no agent does it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaperRow {
    /// When an agent last swept: nanoseconds since boot.
    pub heartbeat: u64,
    /// When the kernel last looked through the table because no agent did.
    pub ran: u64,
    /// Nanoseconds which that took.
    pub took: u64,
    /// Connections that the kernel removed so, since the table was made.
    pub reaped: u64,
    /// Connections that it removed so when it last looked through the table.
    pub round: u64,
    /// Zero.
    pub reserved: u64,
    /// The kernel's timer (`struct bpf_timer`): what userspace reads of it is zero.
    pub timer: [u64; 2],
}
row!(ReaperRow, 64, [u64; 6], [u64; 2]);

/// What the program `reap` is asked. Behind it stand keys of connections, or for [`reap_operation::CORRECT`] a slot, the number of a
/// [`Usage`] (both u32) and what is added (i64). It has the shape of an Ethernet frame, because the program is run on one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReapRequest {
    /// Zero: where a frame has its addresses and its type.
    pub ethernet: [u8; 14],
    /// See [`reap_operation`].
    pub operation: u16,
    /// How many keys stand behind it, at most [`ReapRequest::KEYS_MAX`].
    pub count: u32,
    /// Zero.
    pub reserved: u32,
}
row!(ReapRequest, 24, [u8; 14], u16, u32, u32);

impl ReapRequest {
    /// Most keys in one request: with them it fits into a page, beside what the kernel puts there.
    pub const KEYS_MAX: usize = 64;

    /// A request.
    pub const fn new(operation: u16, count: u32) -> Self {
        Self { ethernet: [0; 14], operation, count, reserved: 0 }
    }
}

/// Values of [`ReapRequest::operation`], and what the program returns.
pub mod reap_operation {
    /// An agent is there; the timer is set. Returns 0, or the number of an error.
    pub const BEAT: u16 = 1;
    /// Remove connections that are over. Returns how many were removed.
    pub const REAP: u16 = 2;
    /// Remove connections, over or not. Returns how many were removed.
    pub const EVICT: u16 = 3;
    /// Add to a word of a usage row. Returns 0, or the number of an error.
    pub const CORRECT: u16 = 4;
}
