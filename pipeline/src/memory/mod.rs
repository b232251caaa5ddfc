//! Frames and tables on ordinary collections: traces, simulation, tests.

mod frame;
mod tables;

pub use frame::Bytes;
pub use tables::{Flow, Tables, Usage};
