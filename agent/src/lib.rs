//! The agent of a host: session with the controller, reconcile, workloads, underlay, local socket.

mod certificate;
pub mod claims;
pub mod cleanup;
mod codec;
pub mod config;
pub mod diagnostics;
mod dial;
mod error;
mod facts;
pub mod hits;
pub mod host;
mod incoming;
pub mod keep;
pub mod local;
pub mod meter;
mod pause;
pub mod pods;
pub mod programs;
pub mod reconcile;
pub mod run;
pub mod session;
pub mod shared;
pub mod state;
pub mod views;
pub mod workloads;
