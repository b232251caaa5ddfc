//! Hosts.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{HostName, Labels};

/// A machine that runs an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name; the agent's certificate carries the same.
    pub name: HostName,
    /// Address of its tunnel endpoint, unique among hosts and foreign endpoints.
    pub underlay: Ipv4Addr,
    /// Its number in every table; given by the model, 0 before that. Hosts and foreign endpoints share one number space.
    pub index: u32,
    /// Revision of its last write; set by the model.
    pub revision: u64,
    /// Its labels.
    pub labels: Labels,
}
