//! How full subnets are, and when they will be: for the API, the metrics, and the log of the controller.
//!
//! Nothing is counted while ports are written. Whoever asks has the published state counted, in which the addresses of ports are in order:
//! a subnet costs a few lookups, however many ports it has.

mod reading;
mod trend;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use andromede_model::{Model, SubnetName};
use tokio::{sync::watch, task::spawn_blocking, time::sleep};

pub use reading::{Level, Reading};
pub use trend::{AHEAD, Trend};

use crate::{clock::now_nanos, publish::Publisher, quarantine::Quarantine};

/// Time between two rounds in which all subnets are looked at.
const ROUND: Duration = Duration::from_secs(30);
/// A round that is younger is as good as a new one, unless something was written since.
const FRESH: Duration = Duration::from_secs(5);
/// From this share on, in percent, it is remembered how a subnet fills.
const REMEMBERED: u32 = 50;
/// Most subnets of which it is remembered.
const MOST_REMEMBERED: usize = 100_000;
/// How many of the fullest are told with the status of the fabric.
const FULLEST: usize = 20;

/// All subnets at one moment.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// How many subnets are of each level, in the order of [`Level::ALL`].
    pub levels: [u64; Level::ALL.len()],
    /// The fullest of those that are filling, the fullest first.
    pub fullest: Vec<Reading>,
    /// When the first of all will be full, in seconds since 1970; none: none is foreseen.
    pub first_full_seconds: Option<i64>,
    /// How many addresses rest, of all subnets.
    pub resting: u64,
}

impl Round {
    /// How many subnets are filling, nearly full or full.
    pub fn filling(&self) -> u64 {
        self.levels.iter().skip(1).sum()
    }
}

/// Looks at subnets.
#[derive(Debug)]
pub struct Utilizations {
    publisher: Arc<Publisher>,
    quarantine: Arc<Quarantine>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    trends: BTreeMap<SubnetName, Trend>,
    /// When the last round was, of which revision, and what it found.
    last: Option<(Instant, u64, Arc<Round>)>,
}

impl Utilizations {
    /// Over this state.
    pub fn new(publisher: Arc<Publisher>, quarantine: Arc<Quarantine>) -> Self {
        Self { publisher, quarantine, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this lock; trends are a help.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all subnets again and again, until the controller ends.
    pub async fn keep(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            let own = Arc::clone(&self);
            // It ends early only if the program does.
            drop(spawn_blocking(move || own.round(Duration::ZERO)).await);
            tokio::select! {
                () = sleep(ROUND) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// All subnets as they are now, or were a few seconds ago if nothing was written since. It may take long.
    pub fn all(&self) -> Arc<Round> {
        self.round(FRESH)
    }

    /// Subnets of a state as somebody sees it.
    pub fn of<'a>(&self, model: &Model, names: impl Iterator<Item = &'a SubnetName>) -> Vec<Reading> {
        let now = now_nanos();
        let resting = self.quarantine.at(now);
        let state = self.state();
        let read = |name: &SubnetName| {
            let (subnet, found, rest) = model.utilization(name, &resting)?;
            let reading = Reading::new(subnet, found, rest, seconds(now));
            let full = state.trends.get(name).and_then(|trend| trend.full_seconds(&reading));
            Some(Reading { full_seconds: full, ..reading })
        };
        names.filter_map(read).collect()
    }

    fn round(&self, fresh: Duration) -> Arc<Round> {
        let mut state = self.state();
        let model = self.publisher.model();
        if let Some((at, revision, round)) = &state.last
            && *revision == model.revision()
            && at.elapsed() < fresh
        {
            return Arc::clone(round);
        }
        let now = now_nanos();
        let resting = self.quarantine.at(now);
        let mut before = std::mem::take(&mut state.trends);
        let mut round = Round::default();
        for (subnet, found, rest) in model.utilizations(&resting) {
            let mut reading = Reading::new(subnet, found, rest, seconds(now));
            let known = before.remove(&subnet.name);
            if (reading.percent >= REMEMBERED || known.is_some()) && state.trends.len() < MOST_REMEMBERED {
                let mut trend = known.unwrap_or_default();
                trend.add(&reading);
                reading.full_seconds = trend.full_seconds(&reading);
                if reading.percent >= REMEMBERED || trend.level() != Level::Roomy {
                    state.trends.insert(subnet.name.clone(), trend);
                }
            }
            round.add(reading);
        }
        round.fullest.sort_by_cached_key(|it| (std::cmp::Reverse(it.percent), it.subnet.clone()));
        round.fullest.truncate(FULLEST);
        let round = Arc::new(round);
        state.last = Some((Instant::now(), model.revision(), Arc::clone(&round)));
        round
    }
}

impl Round {
    fn add(&mut self, reading: Reading) {
        if let Some(count) = self.levels.get_mut(reading.level as usize) {
            *count = count.saturating_add(1);
        }
        self.resting = self.resting.saturating_add(reading.rest.addresses);
        let first = [self.first_full_seconds, reading.full_seconds].into_iter().flatten().min();
        self.first_full_seconds = first;
        if reading.level == Level::Roomy {
            return;
        }
        self.fullest.push(reading);
        // Of very many that are filling not all are kept until the end.
        if self.fullest.len() > 100 * FULLEST {
            self.fullest.sort_by_cached_key(|it| (std::cmp::Reverse(it.percent), it.subnet.clone()));
            self.fullest.truncate(FULLEST);
        }
    }
}

/// Seconds, of nanoseconds since 1970.
fn seconds(nanos: i64) -> i64 {
    nanos / 1_000_000_000
}
