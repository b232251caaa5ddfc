//! Whose a lease is.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How the ids of ports begin that this host makes for its leases.
pub(super) const PORT_PREFIX: &str = "pod-";

/// Whose a lease is: one interface of one container in one network configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// The container, as the runtime calls it.
    pub container: String,
    /// Name of the interface inside.
    pub interface: String,
    /// Name of the network configuration.
    pub configuration: String,
}

impl Owner {
    /// Id of the port of this owner: 64 bits of a hash, so that it is found again without the list of leases.
    pub fn port_id(&self) -> String {
        let parts = [&self.container, &self.interface, &self.configuration];
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        digest.finalize().iter().take(8).fold(PORT_PREFIX.to_owned(), |id, byte| format!("{id}{byte:02x}"))
    }
}

/// A pod, as far as the runtime said; for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its unique identifier.
    pub uid: String,
}
