//! The API `andromede.v1`, the conversation with agents, and the agent's local socket.

pub mod convert;
pub mod difference;
pub mod document;
pub mod filter;
pub mod json;
pub mod label;
pub mod mask;
pub mod parts;
pub mod resource;
pub mod unknown;

/// The API of the control plane.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated from the schema"
)]
pub mod v1 {
    tonic::include_proto!("andromede.v1");
}

/// The conversation between an agent and the controller.
pub mod agent {
    /// Version 1.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated from the schema"
    )]
    pub mod v1 {
        tonic::include_proto!("andromede.agent.v1");
    }
}

/// The agent's unix socket.
pub mod local {
    /// Version 1.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated from the schema"
    )]
    pub mod v1 {
        tonic::include_proto!("andromede.local.v1");
    }
}

/// The schema, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
