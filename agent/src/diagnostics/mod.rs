//! What the host is asked: drops, connections, what rules decided, and the rows of one network.

mod drops;
mod events;
mod flows;
mod fragments;
mod names;
mod rows;
mod rules;
mod sweep;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use andromede_abi::{DropEvent, HostConfig, RuleEvent};
use andromede_dataplane::{Reaper, TableError, Tables};
use andromede_model::NetworkView;
use andromede_plan::{Rows, Wanted};
use andromede_proto::{
    agent::v1::{Answer, Query, answer, query},
    v1,
};
use tokio::{sync::Semaphore, task::JoinHandle};

pub use self::{names::HostNames, sweep::SweepError};
use self::{rules::RuleLog, sweep::Sweeper};
use crate::{
    meter::{self, MeterError, Meters, Seats},
    programs::{Programs, Settings},
};

/// Dropped packets that are remembered.
const RECENT: usize = 1024;
/// Questions that are answered at the same time.
const AT_ONCE: usize = 8;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum DiagnosticsError {
    /// Too early.
    #[error("the packet path of this host is not loaded yet")]
    NotLoaded,
    /// Not here.
    #[error("this host does not hold {0}")]
    NotHeld(String),
    /// The question is of a newer version.
    #[error("this agent does not know the question; upgrade it")]
    Unknown,
    /// A table.
    #[error("{0}")]
    Table(#[from] TableError),
    /// The meters.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// The sweep.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// The clock.
    #[error("the monotonic clock cannot be read: {0}")]
    Clock(#[from] std::io::Error),
    /// Too many questions.
    #[error("this host answers {AT_ONCE} questions already; ask again")]
    Busy,
    /// The work was given up.
    #[error("the agent is stopping")]
    Stopping,
}

/// The loaded tables.
#[derive(Debug)]
struct Loaded {
    tables: Tables,
    config: HostConfig,
    reaper: Reaper,
}

/// Answers questions; it changes nothing but the table of connections, from which it has removed what is over.
#[derive(Debug)]
pub struct Diagnostics {
    host: String,
    loaded: Mutex<Option<Arc<Loaded>>>,
    names: Mutex<Arc<HostNames>>,
    recent: Mutex<VecDeque<v1::DropEvent>>,
    rule_log: Mutex<RuleLog>,
    readers: Mutex<Vec<JoinHandle<()>>>,
    at_once: Semaphore,
    sweeper: Mutex<Sweeper>,
    meters: Meters,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Diagnostics {
    /// Of the host of this name, and with these meters.
    pub fn new(host: &str, meters: Meters) -> Self {
        Self {
            host: host.to_owned(),
            loaded: Mutex::default(),
            names: Mutex::default(),
            recent: Mutex::default(),
            rule_log: Mutex::default(),
            readers: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
            sweeper: Mutex::default(),
            meters,
        }
    }

    /// The packet path was loaded, for the first time or anew.
    pub fn loaded(self: &Arc<Self>, settings: &Settings, programs: &mut Programs) {
        let opened = Tables::open(&settings.pins, &settings.sizes).and_then(|tables| Ok((tables, programs.reaper()?)));
        match opened {
            Ok((tables, reaper)) => {
                if let Err(error) = self.meters.begin(&tables.meters) {
                    tracing::error!(%error, "usage is not metered");
                }
                *lock(&self.loaded) = Some(Arc::new(Loaded { tables, config: *programs.config(), reaper }));
            }
            Err(error) => tracing::error!(%error, "no diagnostics"),
        }
        let mut readers = lock(&self.readers);
        readers.drain(..).for_each(|old| old.abort());
        let weak = || Arc::downgrade(self);
        readers.extend(programs.take_events().map(|events| tokio::spawn(events::read(events, weak(), Self::remember))));
        let rules = programs.take_rule_events();
        readers.extend(rules.map(|events| tokio::spawn(events::read(events, weak(), Self::remember_rule))));
    }

    /// The rows in which these networks are metered; `found` are the rows that say so at present.
    pub fn seat(&self, views: &[NetworkView], found: &Rows) -> Seats {
        let rows = self.tables().map_or(0, |loaded| loaded.tables.meters.capacity());
        let in_use = found.networks.values().map(|row| row.meter).collect();
        self.meters.seat(views, &in_use, rows)
    }

    /// Adds what networks have used since the last time to the book.
    pub fn meter(&self) -> Result<(), DiagnosticsError> {
        let Ok(loaded) = self.tables() else { return Ok(()) };
        Ok(self.meters.fold(&loaded.tables.meters)?)
    }

    /// From now on numbers stand for this.
    pub fn name(&self, wanted: &Wanted) {
        let mut names = lock(&self.names);
        if names.differs(wanted) {
            *names = Arc::new(HostNames::new(wanted));
        }
    }

    /// What numbers stand for.
    pub fn names(&self) -> Arc<HostNames> {
        Arc::clone(&lock(&self.names))
    }

    /// Remembers a dropped packet. Its numbers are named now: they may stand for something else later.
    fn remember(&self, event: &DropEvent, now: u64) {
        let named = drops::event(&self.host, event, &self.names(), now);
        let mut recent = lock(&self.recent);
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back(named);
    }

    /// Remembers what a rule decided.
    fn remember_rule(&self, event: &RuleEvent, now: u64) {
        let named = rules::event(&self.host, event, &self.names(), now);
        lock(&self.rule_log).push(named);
    }

    fn tables(&self) -> Result<Arc<Loaded>, DiagnosticsError> {
        lock(&self.loaded).clone().ok_or(DiagnosticsError::NotLoaded)
    }

    /// Counted and recent drops.
    pub fn drops(&self, request: &v1::ListDropsRequest) -> Result<v1::ListDropsResponse, DiagnosticsError> {
        let loaded = self.tables()?;
        let counts = drops::counts(&self.host, &loaded.tables, &self.names(), request)?;
        let of_port = |event: &&v1::DropEvent| request.port.is_empty() || event.port == request.port;
        let recent = lock(&self.recent).iter().filter(of_port).cloned().collect();
        Ok(v1::ListDropsResponse { counts, recent, errors: Vec::new() })
    }

    /// Connections.
    pub fn flows(&self, request: &v1::ListFlowsRequest) -> Result<v1::ListFlowsResponse, DiagnosticsError> {
        let loaded = self.tables()?;
        let flows = flows::list(&self.host, &loaded.tables, &self.names(), request, monotonic()?)?;
        Ok(v1::ListFlowsResponse { flows, errors: Vec::new() })
    }

    /// The last events of rules, and how many are missing in them.
    pub fn rule_events(
        &self,
        request: &v1::ListRuleEventsRequest,
    ) -> Result<v1::ListRuleEventsResponse, DiagnosticsError> {
        let loaded = self.tables()?;
        let mut lost = rules::lost(&self.host, &loaded.tables, &self.names(), request)?;
        let log = lock(&self.rule_log);
        let (events, missing) = (log.list(&self.host, request), log.missing(&self.host, request));
        drop(log);
        if missing > 0 {
            lost.push(v1::LostRuleEvents { host: self.host.clone(), port: String::new(), events: missing });
        }
        Ok(v1::ListRuleEventsResponse { events, lost, errors: Vec::new() })
    }

    /// How often rules decided.
    pub fn rule_hits(&self, request: &v1::ListRuleHitsRequest) -> Result<v1::ListRuleHitsResponse, DiagnosticsError> {
        let loaded = self.tables()?;
        let rules = rules::hits(&self.host, &loaded.tables, &self.names(), request)?;
        Ok(v1::ListRuleHitsResponse { rules, errors: Vec::new() })
    }

    /// Removes connections and datagrams in pieces that are over, and counters of ports that are gone where they take too much room.
    pub fn sweep(&self) -> Result<(), DiagnosticsError> {
        let Ok(loaded) = self.tables() else { return Ok(()) };
        lock(&self.sweeper).sweep(&loaded.tables, &loaded.reaper, monotonic()?)?;
        fragments::sweep(&loaded.tables, monotonic()?)?;
        Ok(drops::sweep(&loaded.tables, &self.names())?)
    }

    /// Answers a question of the controller.
    pub async fn answer(self: Arc<Self>, query: Query) -> Answer {
        let id = query.id;
        let Ok(_permit) = self.at_once.try_acquire() else {
            return Answer { id, error: DiagnosticsError::Busy.to_string(), answer: None };
        };
        let this = Arc::clone(&self);
        let work = tokio::task::spawn_blocking(move || this.answer_now(query.question));
        match work.await.map_err(|_| DiagnosticsError::Stopping).flatten() {
            Ok(answer) => Answer { id, error: String::new(), answer: Some(answer) },
            Err(error) => Answer { id, error: error.to_string(), answer: None },
        }
    }

    fn answer_now(&self, question: Option<query::Question>) -> Result<answer::Answer, DiagnosticsError> {
        match question {
            Some(query::Question::Drops(request)) => self.drops(&request).map(answer::Answer::Drops),
            Some(query::Question::Flows(request)) => self.flows(&request).map(answer::Answer::Flows),
            Some(query::Question::RuleEvents(request)) => self.rule_events(&request).map(answer::Answer::RuleEvents),
            Some(query::Question::RuleHits(request)) => self.rule_hits(&request).map(answer::Answer::RuleHits),
            Some(query::Question::Usage(question)) => {
                let usage = self.meters.told(&self.tables()?.tables.meters, &question)?;
                Ok(answer::Answer::Usage(usage))
            }
            Some(query::Question::NetworkRows(network)) => {
                let loaded = self.tables()?;
                let rows = rows::of_network(&loaded.tables, &loaded.config, &self.names(), &network, monotonic()?)?;
                Ok(answer::Answer::NetworkRows(rows))
            }
            None => Err(DiagnosticsError::Unknown),
        }
    }
}

/// Sweeps from time to time, for ever.
pub async fn sweep(diagnostics: Arc<Diagnostics>) {
    let mut timer = tokio::time::interval(std::time::Duration::from_secs(5));
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let diagnostics = Arc::clone(&diagnostics);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || diagnostics.sweep()).await {
            tracing::error!(%error, "connections that are over could not be removed");
        }
    }
}

/// Meters from time to time, for ever.
pub async fn meter(diagnostics: Arc<Diagnostics>) {
    let mut timer = tokio::time::interval(meter::INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let diagnostics = Arc::clone(&diagnostics);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || diagnostics.meter()).await {
            tracing::error!(%error, "usage could not be read and kept; it is tried again");
        }
    }
}

/// Nanoseconds since boot, by the clock of the packet path (`bpf_ktime_get_coarse_ns`).
fn monotonic() -> Result<u64, std::io::Error> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE)?;
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec()).unwrap_or(0);
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}
