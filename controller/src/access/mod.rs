//! Who calls, what they may call, what they see, and what they may write.
//!
//! ```text
//! certificate or bearer token -> principal -> rights (one table: may this role call this method, and how far does it reach?)
//!             -> sight (the state as that caller sees it: what is not theirs is not there)
//!             -> write (what may this caller change? asked by the writer, on the state to which the write is added)
//! ```

mod bearer;
mod guard;
mod principal;
mod rights;
mod sight;
mod write;

pub use bearer::{Algorithm, Bearer, BearerError, Bearers, KeySetError};
pub use guard::{Caller, Guard, GuardLayer, caller};
pub use principal::{AccessError, Principal, Role};
pub use rights::{COLUMNS, Extent, Rights, TABLE, authorise};
pub use sight::{Sight, Views};
pub use write::check;
