//! Prefix lists: many prefixes under one name.

use serde::{Deserialize, Serialize};

use crate::{Labels, Prefix, PrefixListName};

/// A list of prefixes that rules of its network refer to. Its change reaches all these rules at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixList {
    /// Its name.
    pub name: PrefixListName,
    /// Its prefixes, at most [`crate::limits::PREFIXES_PER_LIST`]; none of them twice. An empty list matches nothing.
    pub prefixes: Vec<Prefix>,
    /// Revision of its last write; set by the model.
    pub revision: u64,
    /// Its labels.
    pub labels: Labels,
}
