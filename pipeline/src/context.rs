//! What the walk is told besides the frame.

use andromede_abi::{Address, HostConfig};

/// Where a tenant's frame came from.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Outer source address; unspecified if the frame came through no tunnel.
    pub sender: Address,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
    reserved: u32,
}

impl Tunnel {
    /// The frame came through no tunnel.
    pub const NONE: Self = Self::new(0, Address::UNSPECIFIED);

    /// From this sender, under this network identifier.
    #[inline(always)]
    pub const fn new(vni: u32, sender: Address) -> Self {
        Self { sender, vni, reserved: 0 }
    }
}

/// What the walk is told besides the frame: where it was met, and when.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// See [`andromede_abi::hook`].
    pub hook: u8,
    /// Interface at which the frame was met.
    pub ifindex: u32,
    /// Payload bytes of each segment of a GSO frame, or 0.
    pub gso_size: u32,
    /// Nanoseconds since boot; a coarse clock does.
    pub now: u64,
    /// From `from_overlay`: the tunnel key of the kernel's vxlan device.
    pub tunnel: Tunnel,
    /// The frame has the mark that the packet path gives: at `from_host` to what it delivers itself, at `from_overlay` to
    /// what passed `from_underlay`.
    pub marked: bool,
    /// At `from_host`: the node itself made the frame, of a socket of its own. What it forwards came from an interface.
    pub own: bool,
    /// The frame has a VLAN tag beside its bytes, where the kernel keeps it: it would go wherever the frame goes.
    pub tagged: bool,
    /// What is known of the host.
    pub host: &'a HostConfig,
}

impl<'a> Context<'a> {
    /// A plain frame: not GSO, from no tunnel, without a mark, forwarded, and without a VLAN tag.
    #[inline(always)]
    pub const fn at(hook: u8, ifindex: u32, now: u64, host: &'a HostConfig) -> Self {
        Self { hook, ifindex, gso_size: 0, now, tunnel: Tunnel::NONE, marked: false, own: false, tagged: false, host }
    }
}
