//! Waiting until a revision is in force on the hosts that it concerns.

use std::{sync::Arc, time::Duration};

use andromede_proto::v1::{HostInForce, InForce, WaitInForceRequest};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::broken;
use crate::{
    access::{Caller, Sight, Views},
    registry::Registry,
};

/// Longest wait of one call.
const LONGEST: Duration = Duration::from_mins(10);
/// Thousands of hosts report a commit at nearly the same time: they are looked at together, after this time.
const TOGETHER: Duration = Duration::from_millis(20);
/// Most hosts that are named.
const NAMED: usize = 100;

/// The stream of a watch.
pub(super) type InForceStream = ReceiverStream<Result<InForce, Status>>;

/// What somebody waits for.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) views: Views,
    pub(super) registry: Arc<Registry>,
    pub(super) caller: Caller,
    /// Becomes true when the controller ends.
    pub(super) stop: watch::Receiver<bool>,
    /// The revision; 0: all that was written before.
    pub(super) revision: u64,
    /// Hosts without a session too?
    pub(super) all: bool,
}

impl Waiting {
    /// Waits as the request says, and tells how far the revision is then.
    pub(super) async fn wait(self, request: &WaitInForceRequest) -> Result<InForce, Status> {
        let patience = Duration::from_secs(u64::from(request.timeout_seconds));
        if patience > LONGEST {
            let rule = "a call waits for at most 600 seconds";
            return Err(broken("timeout_seconds", request.timeout_seconds, rule, "call again when it is over"));
        }
        self.check()?;
        let end = Instant::now() + patience;
        let mut changes = self.registry.changes();
        let mut stop = self.stop.clone();
        loop {
            changes.borrow_and_update();
            let found = self.look();
            if found.in_force || Instant::now() >= end {
                return Ok(found);
            }
            tokio::select! {
                // At the end of the time it is looked at once more.
                changed = timeout_at(end, changes.changed()) => if matches!(changed, Ok(Err(_))) { return Ok(found) },
                _ = stop.wait_for(|stop| *stop) => return Ok(found),
            }
            sleep(TOGETHER).await;
        }
    }

    /// Tells how far the revision is, whenever that changes, until it is in force.
    pub(super) fn watch(self) -> Result<InForceStream, Status> {
        self.check()?;
        let (out, stream) = mpsc::channel(1);
        tokio::spawn(self.tell(out));
        Ok(ReceiverStream::new(stream))
    }

    async fn tell(self, out: mpsc::Sender<Result<InForce, Status>>) {
        let mut changes = self.registry.changes();
        let mut stop = self.stop.clone();
        let mut told = None;
        loop {
            changes.borrow_and_update();
            let found = self.look();
            let end = found.in_force;
            if told.as_ref() != Some(&found) {
                told = Some(found.clone());
                if out.send(Ok(found)).await.is_err() {
                    return;
                }
            }
            if end {
                return;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                _ = stop.wait_for(|stop| *stop) => return,
                () = out.closed() => return,
            }
            sleep(TOGETHER).await;
        }
    }

    fn check(&self) -> Result<(), Status> {
        let head = self.views.revision();
        if self.revision > head {
            let rule = format!("the last revision is {head}");
            return Err(broken("revision", self.revision, &rule, "give the revision that a write gave"));
        }
        Ok(())
    }

    /// How far it is now.
    fn look(&self) -> InForce {
        let named = self.caller.sight == Sight::Everything;
        let mut found = InForce { revision: self.revision, ..InForce::default() };
        for (host, needed) in self.views.concerned(&self.caller, Some(self.revision).filter(|revision| *revision != 0))
        {
            let state = self.registry.state(host.as_str());
            let count = match (state.has_applied(needed), state.connected) {
                (true, _) => &mut found.applied,
                (false, true) => &mut found.pending,
                (false, false) => &mut found.out_of_touch,
            };
            *count = count.saturating_add(1);
            if named && !state.has_applied(needed) && found.hosts.len() < NAMED {
                found.hosts.push(HostInForce {
                    host: host.into(),
                    connected: state.connected,
                    last_seen_seconds: state.last_seen_seconds,
                    applied_revision: state.applied_revision,
                    error: state.error,
                });
            }
        }
        found.in_force = found.pending == 0 && (found.out_of_touch == 0 || !self.all);
        found
    }
}
