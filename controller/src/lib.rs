//! The controller: API, store, publishing to hosts, audit.

pub mod store;
pub mod access;
pub mod registry;
pub mod errors;
pub mod publish;
pub mod audit;
pub mod record;
pub mod writer;
#[cfg(test)]
mod fixtures;
