//! Tenants.

use serde::{Deserialize, Serialize};

use crate::{Labels, Residency, TenantLimits, TenantName, TenantQuotas};

/// A customer: nothing of one tenant reaches another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its name.
    pub name: TenantName,
    /// For people; at most [`crate::limits::DISPLAY_NAME`] characters.
    pub display_name: String,
    /// Its number in every table; given by the model, 0 before that.
    pub index: u32,
    /// Revision of its last write; set by the model.
    pub revision: u64,
    /// Its labels.
    pub labels: Labels,
    /// What it may take of each host.
    #[serde(default)]
    pub limits: TenantLimits,
    /// How much it may have.
    #[serde(default)]
    pub quotas: TenantQuotas,
    /// Where all its networks may be.
    #[serde(default)]
    pub residency: Residency,
}
