//! What tenants used: hosts are asked for what they counted, and it is kept day by day.
//!
//! ```text
//! kernel -> agent's book -> collector (asks) -> rights of the host -> ledger (on disk) -> UsageService, metrics
//! ```
//!
//! A host tells the sums of a day, and not what was added: told twice, they are the same. What the ledger has of each host's book, and that
//! it has it, is written at once.

mod collector;
mod ledger;
mod totals;

pub use collector::{Collector, FRESH, FRESH_FOR_TENANTS};
pub use ledger::{Answered, Ledger, Line, OfTenant, Position, Question};
pub use totals::{Places, Totals, Used};

use andromede_model::Day;
use andromede_proto::v1::UsagePlace;

use crate::clock::now_nanos;

/// Days for which records are kept: a year, and time to send the last bill.
pub const RETENTION_DAYS: u32 = 400;
/// Places, and what is not said.
pub const PLACES: usize = 8;

/// The day that it is.
pub fn today() -> Day {
    Day::of_unix_seconds(u64::try_from(now_nanos() / 1_000_000_000).unwrap_or_default())
}

/// The name of a place, as commands and metrics show it.
pub fn place_name(place: usize) -> String {
    let place = i32::try_from(place).ok().and_then(|place| UsagePlace::try_from(place).ok()).unwrap_or_default();
    place.as_str_name().trim_start_matches("USAGE_PLACE_").to_ascii_lowercase().replace('_', "-")
}
