//! Random networks, and the tables read as the packet path reads them.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod host;
pub(crate) mod lookup;
pub(crate) mod oracle;
pub(crate) mod places;
pub(crate) mod world;
