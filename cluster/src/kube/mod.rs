//! The API of Kubernetes, as far as it is used here.

pub(crate) mod event;
pub(crate) mod leader;
pub(crate) mod objects;
pub(crate) mod watch;
