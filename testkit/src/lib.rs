//! Network namespaces, topologies, traffic and packet builders for tests and the demo.
//!
//! Nothing here outlives the process that made it: namespaces are held by file descriptors only, children die
//! with the thread that started them, and pins live in a mount namespace of their own.
#![allow(unsafe_code, reason = "namespaces, packet sockets and signals of children are system calls")]

pub mod capture;
pub mod containerd;
pub mod fabric;
pub mod image;
pub mod interrupt;
pub mod namespace;
pub mod packet;
pub mod pins;
pub mod process;
pub mod raw;
pub mod requires;
pub mod traffic;
pub mod underlay;
pub mod wait;

pub use fabric::{Fabric, FabricOptions, Workload};
pub use namespace::Namespace;
pub use process::Process;
pub use underlay::Underlay;
