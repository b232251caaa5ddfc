//! Commits: what a store keeps.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{AnyName, IdentitySet, NetworkName, Resource};

/// The next number of each kind that the model gives out. They only grow, so no number is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Next number of a tenant.
    pub tenant: u32,
    /// Next network index.
    pub network: u32,
    /// Next VNI to try; VNIs are few, so after the last the search begins anew.
    pub vni: u32,
    /// Next number of a host or foreign tunnel endpoint.
    pub host: u32,
    /// Next number of a rule.
    pub rule: u32,
    /// Next number of an identity.
    pub identity: u32,
    /// Next Ethernet address.
    pub mac: u32,
}

impl Default for Counters {
    fn default() -> Self {
        Self { tenant: 1, network: 1, vni: Self::FIRST_VNI, host: 1, rule: Self::FIRST_RULE, identity: 1, mac: 1 }
    }
}

impl Counters {
    /// The first VNI that the model gives out; smaller ones are left to those who choose themselves.
    pub const FIRST_VNI: u32 = 4_096;
    /// The first number of a rule; smaller ones stand for defaults.
    pub const FIRST_RULE: u32 = 1_024;

    /// Has one of them come to its end? After that numbers would be given twice.
    pub(crate) fn exhausted(self) -> bool {
        [self.tenant, self.network, self.host, self.rule, self.identity, self.mac].contains(&u32::MAX)
    }
}

/// One revision: what it wrote, with all numbers given, and what it deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its revision: that of the model before it, plus one.
    pub revision: u64,
    /// Resources as they are from now on, parents before children.
    pub written: Vec<Resource>,
    /// Names of those that are gone, children before parents.
    pub deleted: Vec<AnyName>,
    /// New interned sets of groups.
    pub identities: Vec<(NetworkName, IdentitySet)>,
    /// Sets that no port has any more.
    pub identities_removed: Vec<(NetworkName, u32)>,
    /// The counters after it.
    pub counters: Counters,
}

impl Commit {
    /// Does it change nothing? Such a commit need not be stored.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.deleted.is_empty()
    }

    /// The networks that it writes to or deletes from. A host's own change is not among them: see `Model::networks_of`.
    pub fn networks(&self) -> BTreeSet<NetworkName> {
        let written = self.written.iter().filter_map(Resource::network);
        written.chain(self.deleted.iter().filter_map(AnyName::network)).collect()
    }
}

/// A commit that does not follow from the model: the log is damaged, or not read in order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitError {
    /// It is not the next one.
    #[error("commit {found} follows revision {revision}, where {} is due; read the log in order", revision + 1)]
    OutOfOrder {
        /// Revision of the model.
        revision: u64,
        /// Revision of the commit.
        found: u64,
    },
    /// It writes into something that is not there.
    #[error("commit {revision} writes {name}, whose network is not there; the log is damaged")]
    NoNetwork {
        /// Revision of the commit.
        revision: u64,
        /// The resource.
        name: AnyName,
    },
}
