//! When the controller hears of what it has yet to hear: one claim at a time, and again after a while if it was refused.

use std::time::Duration;

use andromede_proto::agent::v1::{Claim, ClaimAnswer};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// After this time a claim is made again that is still due.
const AGAIN: Duration = Duration::from_secs(5);

/// The claims of one session.
#[derive(Debug)]
pub(crate) struct Claims {
    wanted: watch::Receiver<Claim>,
    /// What was claimed last, and when.
    last: Option<(Claim, Instant)>,
    /// Has the last claim no answer yet?
    waiting: bool,
    next_id: u64,
}

impl Claims {
    pub(crate) fn new(wanted: watch::Receiver<Claim>) -> Self {
        Self { wanted, last: None, waiting: false, next_id: 1 }
    }

    /// The claim to be made now.
    pub(crate) fn due(&mut self) -> Option<Claim> {
        let wanted = self.wanted.borrow_and_update().clone();
        let fresh = self.last.as_ref().is_none_or(|(last, at)| *last != wanted || at.elapsed() >= AGAIN);
        if self.waiting || !fresh || wanted.written.is_empty() && wanted.deleted.is_empty() {
            return None;
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.waiting = true;
        self.last = Some((wanted.clone(), Instant::now()));
        Some(Claim { id, ..wanted })
    }

    /// The controller answered.
    pub(crate) fn answered(&mut self, answer: &ClaimAnswer) {
        self.waiting = false;
        if !answer.error.is_empty() {
            tracing::error!(
                error = answer.error,
                "the controller refused this host's ports; other hosts do not know them"
            );
        }
    }

    /// Waits until another claim may be due.
    pub(crate) async fn changed(&mut self) {
        let again = self.last.as_ref().map(|(_, at)| *at + AGAIN).filter(|at| !self.waiting && *at > Instant::now());
        let timer = async {
            match again {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.wanted.changed() => {
                // The sender lives as long as the agent.
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            () = timer => {}
        }
    }
}
