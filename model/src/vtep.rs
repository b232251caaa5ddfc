//! Foreign tunnel endpoints.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{Labels, MacAddress, Prefix, VtepName, ZoneName};

/// A foreign VXLAN tunnel endpoint of a network and the prefixes behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vtep {
    /// Its name.
    pub name: VtepName,
    /// Address of the endpoint: no host's, and unique in the network.
    pub underlay: Ipv4Addr,
    /// Ethernet address that frames towards it carry.
    pub mac: MacAddress,
    /// Prefixes behind it; a port's own address stands before them.
    pub prefixes: Vec<Prefix>,
    /// The zone where it stands. A network that may be only in some zones has no endpoint that is in none.
    #[serde(default)]
    pub zone: Option<ZoneName>,
    /// Number of the zone in every table; given by the model, 0 without a zone.
    #[serde(default)]
    pub zone_index: u32,
    /// Its number in every table; given by the model, 0 before that. Hosts and foreign endpoints share one number space.
    pub index: u32,
    /// Revision of its last write; set by the model.
    pub revision: u64,
    /// Its labels.
    pub labels: Labels,
}
