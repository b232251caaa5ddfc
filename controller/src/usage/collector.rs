//! Asking hosts what they counted.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use andromede_model::{Day, HostName, Model, Resource, ResourceKind};
use andromede_proto::agent::v1::{Usage, UsageQuestion, answer::Answer, query};
use futures::{StreamExt as _, stream};
use tokio::{
    sync::{Mutex, watch},
    task::spawn_blocking,
    time::sleep,
};

use super::{Answered, Ledger, Totals, ledger::Question, today};
use crate::{
    publish::Publisher,
    registry::{AskError, Registry},
    store::StoreError,
};

/// Time between two rounds in which all hosts are asked: what a host has counted is lost with the host, but for this.
const ROUND: Duration = Duration::from_secs(10);
/// A round that is younger is as good as a new one: for who runs the fabric, and for tenants, who must not have all hosts asked at will.
pub const FRESH: Duration = Duration::from_millis(500);
/// See [`FRESH`].
pub const FRESH_FOR_TENANTS: Duration = Duration::from_secs(5);
/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Hosts that are asked at once.
const ASKED_AT_ONCE: usize = 64;
/// Most records of a host in one answer: of the networks that it can hold, those of a few days.
const MOST_RECORDS: usize = 50_000;

/// Most bytes of what a host calls its book.
const MOST_BOOK: usize = 64;

/// Asks hosts, and has the ledger take what they say.
#[derive(Debug)]
pub struct Collector {
    ledger: Arc<Ledger>,
    publisher: Arc<Publisher>,
    registry: Arc<Registry>,
    totals: Arc<Totals>,
    last: Mutex<Option<Round>>,
}

/// A round: when it was, and which hosts did not answer.
#[derive(Debug)]
struct Round {
    at: Instant,
    missing: Arc<BTreeSet<HostName>>,
    /// The day on which what is old was last forgotten.
    pruned: Day,
}

impl Collector {
    /// Over this ledger.
    pub fn new(ledger: Ledger, publisher: &Arc<Publisher>, registry: &Arc<Registry>) -> Self {
        let (publisher, registry) = (Arc::clone(publisher), Arc::clone(registry));
        Self { ledger: Arc::new(ledger), publisher, registry, totals: Arc::default(), last: Mutex::default() }
    }

    /// What was used since the start.
    pub fn totals(&self) -> Arc<Totals> {
        Arc::clone(&self.totals)
    }

    /// The ledger.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// Asks hosts from time to time, until the controller ends.
    pub async fn keep(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = sleep(ROUND) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if let Err(error) = self.present(FRESH).await {
                tracing::error!(%error, "usage could not be kept; hosts are asked for the same again");
            }
        }
    }

    /// Asks all hosts for what is new, unless the last time was less than `fresh` ago; those that did not answer.
    ///
    /// # Errors
    /// The ledger cannot be read or written.
    pub async fn present(&self, fresh: Duration) -> Result<Arc<BTreeSet<HostName>>, StoreError> {
        let mut last = self.last.lock().await;
        if let Some(round) = last.as_ref().filter(|round| round.at.elapsed() < fresh) {
            return Ok(Arc::clone(&round.missing));
        }
        let model = self.publisher.model();
        let (answers, missing) = self.ask(&model).await?;
        let missing = Arc::new(missing);
        let (ledger, today) = (Arc::clone(&self.ledger), today());
        let pruned = last.as_ref().is_some_and(|round| round.pruned == today);
        let of_model = Arc::clone(&model);
        let work = spawn_blocking(move || {
            if !pruned {
                ledger.prune(today, |host| host.parse().is_ok_and(|host| of_model.host(&host).is_some()))?;
            }
            ledger.take(today, &answers)
        });
        let more = work.await.map_err(|error| StoreError::Usage(error.to_string()))??;
        for (network, more) in &more {
            self.totals.add(network, more);
        }
        let is_there = |network: &str| network.parse().is_ok_and(|network| model.network(&network).is_some());
        self.totals.asked(missing.len() as u64, is_there);
        *last = Some(Round { at: Instant::now(), missing: Arc::clone(&missing), pruned: today });
        Ok(missing)
    }

    async fn ask(&self, model: &Model) -> Result<(Vec<Answered>, BTreeSet<HostName>), StoreError> {
        let mut told = self.ledger.questions()?;
        let hosts = model.all(ResourceKind::Host).filter_map(|resource| match resource {
            Resource::Host(host) if !host.is_fenced() => Some(host.name),
            _ => None,
        });
        let asked = hosts.map(|host| {
            let question = told.remove(host.as_str()).unwrap_or_default();
            async move {
                let answer = self.ask_one(&host, question).await;
                (host, answer)
            }
        });
        let asked: Vec<_> = asked.collect();
        let mut results = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
        let (mut answers, mut missing) = (Vec::new(), BTreeSet::new());
        while let Some((host, answer)) = results.next().await {
            match answer {
                Ok(usage) => {
                    let held = self.publisher.held(&host);
                    let held = held.iter().filter_map(|name| model.network(name).cloned()).collect();
                    answers.push(Answered { host, held, usage });
                }
                Err(error) => {
                    tracing::debug!(%host, %error, "the host did not tell what it counted");
                    missing.insert(host);
                }
            }
        }
        Ok((answers, missing))
    }

    async fn ask_one(&self, host: &HostName, told: Question) -> Result<Usage, AskError> {
        let question = UsageQuestion { book: told.book, after_sequence: told.sequence };
        match self.registry.ask(host.as_str(), query::Question::Usage(question), PATIENCE).await? {
            Answer::Usage(usage)
                if usage.records.len() <= MOST_RECORDS && (1..=MOST_BOOK).contains(&usage.book.len()) =>
            {
                Ok(usage)
            }
            _ => Err(AskError::Unfit),
        }
    }
}
