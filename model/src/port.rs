//! Ports.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{HostName, Labels, MacAddress, PortLimits, PortName, SecurityGroupName, Uid};

/// A workload's interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: PortName,
    /// Its addresses, each in a subnet of the network; the first of each family is the main one.
    pub addresses: Vec<IpAddr>,
    /// Its Ethernet address, unique in the network; given by the model if unset.
    pub mac: MacAddress,
    /// The host that holds it, if it is placed.
    pub host: Option<HostName>,
    /// Its security groups, of the same network.
    pub groups: BTreeSet<SecurityGroupName>,
    /// What it may take.
    #[serde(default)]
    pub limits: PortLimits,
    /// Number of the interned set of its groups; given by the model, 0 without groups.
    pub identity: u32,
    /// Revision of its last write; set by the model.
    pub revision: u64,
    /// Tells it from an earlier port of the same name; set by the model at its creation.
    #[serde(default)]
    pub uid: Uid,
    /// Its labels.
    pub labels: Labels,
}
