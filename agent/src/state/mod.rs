//! What the host was told and what it holds, in memory and on disk.

pub mod attachments;
pub mod disk;
pub mod held;
pub mod identity;
pub mod leases;
pub mod lock;
pub mod store;
pub mod unknown;
