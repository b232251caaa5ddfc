//! The controller: API, store, publishing to hosts, audit.
//!
//! ```text
//! call -> calls (its number, its span) -> access (who, may they) -> api (check, convert) -> writer (prepare, capacity) -> store (on disk)
//!      -> publish (visible, hosts are woken) -> session (what each host has yet to hear) -> registry (what it reports)
//! ```
//!
//! The state is the fold of the store's log. There is one writer; everybody else reads the model as of the last durable
//! commit. What hosts are told is derived from it and from a short log of names for each network.

pub mod access;
pub mod api;
pub mod audit;
pub mod calls;
pub mod capacity;
pub mod chain;
pub mod change;
pub mod checkpoint;
pub mod claim;
mod clock;
pub mod denials;
pub mod errors;
pub mod fence;
#[cfg(test)]
mod fixtures;
pub mod fold;
pub mod health;
mod hexadecimal;
pub mod history;
pub mod join;
pub mod metrics;
pub mod preview;
pub mod publish;
pub mod quarantine;
pub mod record;
pub mod registry;
pub mod requests;
pub mod server;
pub mod session;
pub mod settings;
pub mod store;
pub mod telemetry;
mod telling;
pub mod trace;
pub mod usage;
pub mod utilization;
pub mod writer;
