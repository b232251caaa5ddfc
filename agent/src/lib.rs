//! The agent of a host: session with the controller, reconcile, workloads, underlay, local socket.

pub mod host;
pub mod state;
