//! VXLAN, RFC 7348.

/// Bytes of the header.
pub const HEADER: usize = 8;
/// First word with the I flag: the network identifier is valid (section 5). Other bits are ignored on receipt.
pub const FLAG_VNI: u32 = 0x0800_0000;
/// Bytes of a UDP header.
pub const UDP_HEADER: usize = 8;
/// First of the source ports that section 5 recommends.
pub const FIRST_SOURCE_PORT: u16 = 49_152;
