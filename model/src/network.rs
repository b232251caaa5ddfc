//! Networks.

use serde::{Deserialize, Serialize};

use crate::{Labels, NetworkName, Residency, Timeouts, Vni};

/// A private network of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: NetworkName,
    /// Its name on the wire, unique in the fabric; given by the model if unset, and never changed.
    pub vni: Vni,
    /// Largest IP packet of a workload in bytes ([`crate::limits::MTU_LEAST`] to [`crate::limits::MTU_MOST`]);
    /// none: that of the underlay less the encapsulation.
    pub mtu: Option<u32>,
    /// How long its connections are remembered.
    pub timeouts: Timeouts,
    /// Where it may be, of what its tenant lets.
    #[serde(default)]
    pub residency: Residency,
    /// Number of its tenant in every table; given by the model, 0 before that.
    pub tenant_index: u32,
    /// Its number in every table; given by the model, 0 before that.
    pub index: u32,
    /// Revision of its last write; set by the model.
    pub revision: u64,
    /// Its labels.
    pub labels: Labels,
}
