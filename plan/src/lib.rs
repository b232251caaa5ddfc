//! Pure functions from the model to what each host must know, to rows, to the least set of changes.
//!
//! [`compile()`] turns the views of the networks that a host holds into the [`Rows`] that it should have; [`changes()`] compares
//! them with the rows it has and lists the [`Step`]s between, in an order that closes before it opens.

mod budgets;
mod changes;
mod compile;
mod compiler;
mod cost;
mod difference;
mod epochs;
mod network;
mod policy;
mod rows;
mod slots;
mod step;
mod wanted;
mod window;

pub use changes::changes;
pub use compile::{Memory, compile, compile_with};
pub use cost::{Cost, TooLarge};
pub use policy::{Policies, SetCost};
pub use rows::{Row, RowKey, Rows};
pub use step::Step;
pub use wanted::{Attachment, Attachments, HostFacts, Infrastructure, Names, OVERHEAD, Refused, Wanted};
