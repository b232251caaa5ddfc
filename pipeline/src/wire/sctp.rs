//! SCTP, RFC 9260: what the fabric looks at.

/// Bytes of the common header and of the first chunk's header.
pub const HEADER: usize = 12 + 4;

/// Types of chunks (section 3.2).
pub mod chunk {
    /// Begins an association.
    pub const INIT: u8 = 1;
    /// Answers it.
    pub const INIT_ACK: u8 = 2;
    /// Ends an association at once.
    pub const ABORT: u8 = 6;
    /// Acknowledges the answer.
    pub const COOKIE_ECHO: u8 = 10;
    /// The last chunk of an association that ends in order.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}
