//! The controller: API, store, publishing to hosts, audit.

pub mod access;
pub mod api;
pub mod audit;
pub mod capacity;
pub mod errors;
#[cfg(test)]
mod fixtures;
pub mod publish;
pub mod record;
pub mod registry;
pub mod server;
pub mod session;
pub mod settings;
pub mod store;
pub mod trace;
pub mod writer;
