//! What the walk is told besides the frame.

use andromede_abi::{Address, HostConfig};

/// Where a frame from the kernel's vxlan device came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// Outer source address.
    pub sender: Address,
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
    pub tunnel: Option<Tunnel>,
    /// At `from_host`: this program sent the frame there itself.
    pub own_delivery: bool,
    /// What is known of the host.
    pub host: &'a HostConfig,
}
