//! Which hosts have a session, what they reported, and how to ask them something.
//!
//! Only hosts that the model knows are entered, so the registry is as small as the model's set of hosts.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use andromede_proto::{
    agent::v1::{Report, answer, query},
    v1::Unsupported,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::telemetry::InForce;

/// Most questions that wait for one session.
const QUESTIONS: usize = 16;

/// Most characters of a version and of an error that a host tells.
const VERSION_CHARS: usize = 64;
/// See [`VERSION_CHARS`].
const ERROR_CHARS: usize = 1_000;
/// Most things that are kept of what a host does not know, and most characters of each.
const UNSUPPORTED: usize = 16;
/// See [`UNSUPPORTED`].
const UNSUPPORTED_CHARS: usize = 300;

fn bounded(unsupported: &Unsupported) -> Unsupported {
    let Unsupported { network, what } = unsupported;
    Unsupported { network: told(network, UNSUPPORTED_CHARS), what: told(what, UNSUPPORTED_CHARS) }
}

/// What a host told, bounded, and without what would steer the terminal of whoever reads it.
fn told(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Why a host did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It has no session.
    #[error("not connected; look at `andromedectl status`")]
    NotConnected,
    /// Too many questions wait already.
    #[error("{QUESTIONS} questions wait for this host already; try again later")]
    Busy,
    /// It did not answer in time.
    #[error("no answer within {0:?}; try again later")]
    Timeout(Duration),
    /// The session ended before the answer came.
    #[error("the session ended before the host answered; try again")]
    Ended,
    /// The host answered with an error.
    #[error("{0}")]
    Refused(String),
    /// The host answered something else than was asked.
    #[error("the host's answer does not fit the question; its agent may be of another version")]
    Unfit,
}

/// A question on its way to a session.
#[derive(Debug)]
pub struct Ask {
    /// What is asked.
    pub question: query::Question,
    /// Where the answer goes. Closed once nobody waits any more.
    pub reply: oneshot::Sender<Result<answer::Answer, AskError>>,
}

/// What is known of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Is its session open?
    pub connected: bool,
    /// When it was last heard of: seconds since 1970, 0: never.
    pub last_seen_seconds: i64,
    /// Last revision that it reported as applied.
    pub applied_revision: u64,
    /// Why it could not apply what it was told.
    pub error: String,
    /// What it was told and its agent does not know.
    pub unsupported: Vec<Unsupported>,
    /// Version of its agent.
    pub version: String,
    /// Ports of it that have a workload.
    pub ports_attached: u32,
}

impl Heard {
    /// Has it applied this revision, with all before it?
    pub const fn has_applied(&self, revision: u64) -> bool {
        self.error.is_empty() && self.applied_revision >= revision
    }
}

#[derive(Debug, Default)]
struct Entry {
    state: Heard,
    /// The open session: its number and the way to it. Dropping the sender ends the session.
    session: Option<(u64, mpsc::Sender<Ask>)>,
}

/// All hosts that had a session since the controller started.
#[derive(Debug, Default)]
pub struct Registry {
    hosts: Mutex<BTreeMap<String, Entry>>,
    sessions: AtomicU64,
    /// Says that some host came, went, or reported.
    changes: watch::Sender<()>,
    /// Commits that hosts have yet to apply.
    in_force: InForce,
}

impl Registry {
    fn hosts(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // Every change under this lock is a single assignment: a panic elsewhere cannot leave it half done.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows hosts that come, go, or report; what each is now, [`Registry::state`] says.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Enters a new session of a host (resource name) and ends the one before it. Returns its number and its questions:
    /// when they end, so must the session.
    pub fn open(&self, host: &str, version: &str) -> (u64, mpsc::Receiver<Ask>) {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(QUESTIONS);
        let mut hosts = self.hosts();
        let entry = hosts.entry(host.to_owned()).or_default();
        entry.session = Some((number, sender));
        entry.state.connected = true;
        entry.state.last_seen_seconds = now_seconds();
        entry.state.version = told(version, VERSION_CHARS);
        drop(hosts);
        self.changes.send_replace(());
        (number, receiver)
    }

    /// Takes a session out, unless another has taken its place.
    pub fn close(&self, host: &str, session: u64) {
        if let Some(entry) = self.hosts().get_mut(host)
            && entry.session.as_ref().is_some_and(|(number, _)| *number == session)
        {
            entry.session = None;
            entry.state.connected = false;
        }
        self.changes.send_replace(());
    }

    /// Ends the session of a host, if it has one.
    pub fn expel(&self, host: &str) {
        if let Some(entry) = self.hosts().get_mut(host) {
            entry.session = None;
            entry.state.connected = false;
        }
        self.changes.send_replace(());
    }

    /// Forgets a host that is gone from the model, and ends its session.
    pub fn forget(&self, host: &str) {
        self.hosts().remove(host);
        self.in_force.gone(host);
        self.changes.send_replace(());
    }

    /// Ends all sessions: the controller goes.
    pub fn end(&self) {
        self.hosts().clear();
    }

    /// Something was heard of the host in this session.
    pub fn seen(&self, host: &str, session: u64) {
        self.update(host, session, |_| ());
    }

    /// The host reported what it has applied.
    pub fn report(&self, host: &str, session: u64, report: &Report) {
        self.update(host, session, |state| {
            state.applied_revision = report.applied_revision;
            state.error = told(&report.error, ERROR_CHARS);
            state.unsupported = report.unsupported.iter().take(UNSUPPORTED).map(bounded).collect();
            state.ports_attached = report.ports_attached;
        });
        if report.error.is_empty() {
            self.in_force.applied(host, report.applied_revision);
        }
        self.changes.send_replace(());
    }

    /// Commits that hosts have yet to apply.
    pub(crate) const fn in_force(&self) -> &InForce {
        &self.in_force
    }

    fn update(&self, host: &str, session: u64, change: impl FnOnce(&mut Heard)) {
        if let Some(entry) = self.hosts().get_mut(host)
            && entry.session.as_ref().is_some_and(|(number, _)| *number == session)
        {
            entry.state.last_seen_seconds = now_seconds();
            change(&mut entry.state);
        }
    }

    /// What is known of a host.
    pub fn state(&self, host: &str) -> Heard {
        self.hosts().get(host).map(|entry| entry.state.clone()).unwrap_or_default()
    }

    /// Asks a host and waits for its answer.
    pub async fn ask(
        &self,
        host: &str,
        question: query::Question,
        patience: Duration,
    ) -> Result<answer::Answer, AskError> {
        let way = self.hosts().get(host).and_then(|entry| entry.session.as_ref().map(|(_, way)| way.clone()));
        let (reply, answer) = oneshot::channel();
        way.ok_or(AskError::NotConnected)?.try_send(Ask { question, reply }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::NotConnected,
        })?;
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer.map_err(|error| match error {
                AskError::Refused(text) => AskError::Refused(told(&text, ERROR_CHARS)),
                error => error,
            }),
            Ok(Err(_)) => Err(AskError::Ended),
            Err(_) => Err(AskError::Timeout(patience)),
        }
    }
}

/// Seconds since 1970, for people to read.
fn now_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    fn question() -> query::Question {
        query::Question::NetworkRows("tenants/t/networks/n".to_owned())
    }

    #[tokio::test]
    async fn a_new_session_ends_the_old_and_an_old_report_is_ignored() {
        let registry = Registry::default();
        let (first, mut questions) = registry.open("hosts/h", "1");
        let (second, _kept) = registry.open("hosts/h", "2");
        assert!(questions.recv().await.is_none());
        registry.report("hosts/h", first, &Report { applied_revision: 9, ..Report::default() });
        registry.close("hosts/h", first);
        let state = registry.state("hosts/h");
        assert_eq!((state.connected, state.applied_revision, state.version.as_str()), (true, 0, "2"));
        registry.report("hosts/h", second, &Report { applied_revision: 7, ..Report::default() });
        registry.close("hosts/h", second);
        let state = registry.state("hosts/h");
        assert_eq!((state.connected, state.applied_revision), (false, 7));
    }

    #[test]
    fn what_a_host_tells_is_bounded_and_harmless() {
        let registry = Registry::default();
        let (session, _questions) = registry.open("hosts/h", &"9".repeat(1_000));
        let error = format!("\u{1b}]0;owned\u{7}{}", "x".repeat(1 << 20));
        registry.report("hosts/h", session, &Report { error, ..Report::default() });
        let state = registry.state("hosts/h");
        assert_eq!((state.version.len(), state.error.len()), (VERSION_CHARS, ERROR_CHARS));
        assert!(state.error.starts_with(" ]0;owned x"), "{:?}", state.error.get(..20));
    }

    #[tokio::test]
    async fn whoever_asks_gets_an_answer_or_a_reason_in_time() {
        let registry = Registry::default();
        assert_eq!(registry.ask("hosts/h", question(), PATIENCE).await, Err(AskError::NotConnected));
        let (_, mut questions) = registry.open("hosts/h", "1");
        assert_eq!(registry.ask("hosts/h", question(), PATIENCE).await, Err(AskError::Timeout(PATIENCE)));
        assert!(questions.recv().await.unwrap().reply.is_closed());
        for _ in 0..QUESTIONS {
            assert_eq!(
                registry.ask("hosts/h", question(), Duration::ZERO).await,
                Err(AskError::Timeout(Duration::ZERO))
            );
        }
        assert_eq!(registry.ask("hosts/h", question(), PATIENCE).await, Err(AskError::Busy));
        registry.forget("hosts/h");
        assert_eq!(registry.state("hosts/h"), Heard::default());
    }
}
