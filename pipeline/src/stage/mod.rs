//! The stages. Each answers one question and returns a value; none changes anything.

pub(crate) mod arp;
pub(crate) mod connection;
pub(crate) mod forward;
pub(crate) mod fragment;
pub(crate) mod judge;
pub(crate) mod locate;
pub(crate) mod neighbor;
pub(crate) mod policy;
pub(crate) mod reach;
pub(crate) mod sender_guard;
pub(crate) mod side;
pub(crate) mod source_guard;
pub(crate) mod state;
