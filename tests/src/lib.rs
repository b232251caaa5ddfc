//! What the tests of promises share: bundles as text, and the fabric that most of them need.

pub mod bundle;
pub mod chance;
pub mod cni;
pub mod containerd;
pub mod counted;
pub mod cri;
pub mod dialogue;
pub mod direct;
pub mod drops;
pub mod image;
pub mod kube;
pub mod oracle;
pub mod podman;
pub mod scene;
pub mod twin;
pub mod usage;

pub use bundle::Bundle;
pub use drops::{dropped, dropped_more, starved};
pub use scene::TwoTenants;
