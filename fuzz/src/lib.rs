//! What the fuzz targets run, as plain functions: `cargo fuzz` calls them with inputs of its own making, and a test
//! replays every input that is kept in `corpus/`.
//!
//! A function panics if a promise is broken. Those of the packet path are checked against an independent reading of
//! the frame and a list of rules that is scanned, not compiled.
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken promise is reported by a panic: that is how a fuzzer hears of it"
)]

mod bundle;
mod fabric;
mod frame;
mod input;
mod oracle;
mod parse;
mod reached;
mod walk;

pub use bundle::bundle;
pub use parse::parse;
pub use reached::{Passed, Reached};
pub use walk::walk;
