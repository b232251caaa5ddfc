//! How much a tenant may have.

use serde::{Deserialize, Serialize};

/// How many resources a tenant may have, in all its networks together; 0: as many as the fabric's own limits let.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantQuotas {
    /// Networks.
    pub networks: u32,
    /// Subnets.
    pub subnets: u32,
    /// Ports.
    pub ports: u32,
    /// Security groups.
    pub security_groups: u32,
    /// Rules of all security groups.
    pub rules: u32,
    /// Prefix lists.
    pub prefix_lists: u32,
}
