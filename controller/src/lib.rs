//! The controller: API, store, publishing to hosts, audit.

pub mod store;
pub mod access;
pub mod registry;
