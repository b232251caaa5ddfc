//! UDP (RFC 768).

/// Offset of the checksum.
pub const CHECKSUM: usize = 6;
