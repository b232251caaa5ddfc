//! Pods whose groups the operator of their cluster gives: an addition waits for its word before the interface comes up.
//!
//! A pod begins with groups under which nothing passes but what its own node sends. The operator hears of its port, as of any other, from
//! the controller, and writes the groups that the policies of the cluster make of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use andromede_model::Labels;
use andromede_proto::label::POD_UID;
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use super::{
    error::PodError,
    lease::{Lease, Owner},
};
use crate::{reconcile::Reconciler, shared::Shared};

/// How often is looked, whether or not the host is reported to have gone on.
const LOOK: Duration = Duration::from_millis(100);

/// The longest wait that may be asked for, in seconds: a runtime gives up an addition after two minutes.
const LONGEST: u32 = 60;

/// An identifier that is to be a label.
pub(super) fn check_identifier(uid: &str) -> Result<(), PodError> {
    let wrong = |why: String| PodError::Field { field: "pod.uid", why };
    if uid.is_empty() {
        let why = "policies are those of a pod that is known by its identifier; the runtime gave none: K8S_POD_UID in CNI_ARGS";
        return Err(wrong(why.to_owned()));
    }
    let label: BTreeMap<String, String> = [(POD_UID.to_owned(), uid.to_owned())].into();
    Labels::new(label).map(drop).map_err(|(_, error)| wrong(error.to_string()))
}

/// Waits until the port of the lease has other groups than those that it begins with, the lease has ended, or the time is over.
pub(super) async fn wait(
    shared: &Shared,
    reconciler: &Arc<Mutex<Reconciler>>,
    owner: &Owner,
    lease: &Lease,
    seconds: u32,
) {
    // The controller hears of the port by a pass.
    shared.wake();
    let mut progress = shared.progress();
    let word = async {
        loop {
            let given = reconciler
                .lock()
                .await
                .views()
                .port(lease.port.as_str())
                .is_some_and(|(_, port)| port.groups != lease.groups);
            if given || shared.leases().get(owner) != Some(lease) {
                return;
            }
            tokio::select! {
                _ = progress.changed() => {}
                () = sleep(LOOK) => {}
            }
        }
    };
    if timeout(Duration::from_secs(seconds.min(LONGEST).into()), word).await.is_err() {
        let (port, pod) = (&lease.port, &lease.pod);
        tracing::warn!(%port, namespace = pod.namespace, name = pod.name, "no word of the cluster's operator: the pod starts isolated");
    }
}
