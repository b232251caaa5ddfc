//! Snapshots of networks as they go over the wire, made once for all hosts.
//!
//! After a restart every host of a network may ask for the same snapshot. It is encoded once, beside the threads that talk to hosts,
//! and every session sends slices of the same bytes.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use andromede_model::{Model, NetworkName, NetworkView};
use andromede_proto::agent::v1 as agent;
use prost::{Message as _, bytes::Bytes};
use tokio::sync::Semaphore;

/// Bytes of all snapshots that are kept.
const KEPT_BYTES: usize = 256 << 20;
/// Snapshots that are encoded at once.
const AT_ONCE: usize = 2;

/// A network as it is to be told from scratch.
#[derive(Clone)]
pub struct Snapshot {
    /// The network.
    pub network: NetworkName,
    /// Revision at which it changed last: until then and since it is the same.
    pub changed: u64,
    /// The state of which it is a part.
    pub(super) model: Arc<Model>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("network", &self.network)
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// What a host must know of the network; none if there is no such network.
    pub fn view(&self) -> Option<NetworkView> {
        self.model.view(&self.network)
    }
}

/// The snapshots that were encoded last.
#[derive(Debug)]
pub(super) struct Encoded {
    kept: Mutex<Kept>,
    at_once: Semaphore,
}

#[derive(Debug, Default)]
struct Kept {
    networks: BTreeMap<NetworkName, (u64, Bytes)>,
    /// The oldest first.
    order: VecDeque<NetworkName>,
    bytes: usize,
}

impl Kept {
    fn get(&self, snapshot: &Snapshot) -> Option<Bytes> {
        let (changed, bytes) = self.networks.get(&snapshot.network)?;
        (*changed == snapshot.changed).then(|| bytes.clone())
    }

    fn put(&mut self, snapshot: &Snapshot, encoded: &Bytes, most: usize) {
        let newer = self.networks.get(&snapshot.network).is_some_and(|(changed, _)| *changed > snapshot.changed);
        if newer || encoded.len() > most {
            return;
        }
        self.remove(&snapshot.network);
        while self.bytes.saturating_add(encoded.len()) > most
            && let Some(oldest) = self.order.front().cloned()
        {
            self.remove(&oldest);
        }
        self.bytes = self.bytes.saturating_add(encoded.len());
        self.order.push_back(snapshot.network.clone());
        self.networks.insert(snapshot.network.clone(), (snapshot.changed, encoded.clone()));
    }

    fn remove(&mut self, network: &NetworkName) {
        if let Some((_, bytes)) = self.networks.remove(network) {
            self.bytes = self.bytes.saturating_sub(bytes.len());
            self.order.retain(|name| name != network);
        }
    }
}

impl Default for Encoded {
    fn default() -> Self {
        Self { kept: Mutex::default(), at_once: Semaphore::new(AT_ONCE) }
    }
}

impl Encoded {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // What is kept can be made again: a panic elsewhere leaves nothing wrong.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a snapshot, as `NetworkView`; none if there is no such network.
    pub(super) async fn get(&self, snapshot: &Snapshot) -> Option<Bytes> {
        if let Some(bytes) = self.kept().get(snapshot) {
            return Some(bytes);
        }
        let _permit = self.at_once.acquire().await.ok()?;
        // Another session may have waited for the same.
        if let Some(bytes) = self.kept().get(snapshot) {
            return Some(bytes);
        }
        let wanted = snapshot.clone();
        let encode = move || Some(Bytes::from(agent::NetworkView::from(wanted.view()?).encode_to_vec()));
        let bytes = tokio::task::spawn_blocking(encode).await.ok()??;
        self.kept().put(snapshot, &bytes, KEPT_BYTES);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::fixtures::two_networks;

    fn snapshot(tenant: &str, changed: u64) -> Snapshot {
        let mut model = Model::default();
        for commit in two_networks() {
            model.commit(&commit).unwrap();
        }
        let network = format!("tenants/{tenant}/networks/n").parse().unwrap();
        Snapshot { network, changed, model: Arc::new(model) }
    }

    #[tokio::test]
    async fn hosts_share_the_bytes_of_a_snapshot_until_it_changes() {
        let encoded = Encoded::default();
        let first = encoded.get(&snapshot("a", 5)).await.unwrap();
        let again = encoded.get(&snapshot("a", 5)).await.unwrap();
        assert_eq!(first.as_ptr(), again.as_ptr(), "encoded once");
        let later = encoded.get(&snapshot("a", 6)).await.unwrap();
        assert_ne!(first.as_ptr(), later.as_ptr());
        let message = agent::NetworkView::decode(first).unwrap();
        assert_eq!(NetworkView::try_from(message).unwrap().ports.len(), 2);
        assert_eq!(encoded.get(&snapshot("none", 1)).await, None);
    }

    #[test]
    fn what_is_kept_has_a_bound_and_the_oldest_goes() {
        let mut kept = Kept::default();
        let bytes = Bytes::from(vec![0; 40]);
        for (tenant, changed) in [("a", 1), ("b", 1), ("c", 1), ("c", 2)] {
            kept.put(&snapshot(tenant, changed), &bytes, 100);
        }
        assert_eq!((kept.bytes, kept.order.len()), (80, 2));
        assert!(kept.get(&snapshot("a", 1)).is_none() && kept.get(&snapshot("b", 1)).is_some());
        kept.put(&snapshot("c", 1), &bytes, 100);
        assert!(kept.get(&snapshot("c", 2)).is_some(), "what is older does not take the place of what is newer");
        kept.put(&snapshot("d", 1), &Bytes::from(vec![0; 101]), 100);
        assert_eq!(kept.bytes, 80);
    }
}
