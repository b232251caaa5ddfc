//! The controller: API, store, publishing to hosts, audit.

pub mod store;
