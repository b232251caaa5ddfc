//! Which of several operators writes: the one that holds a Lease of the API (`coordination.k8s.io/v1`).
//!
//! The others watch and are ready. Times of other machines are not compared with this one's: a holder is taken for gone when its lease
//! has not changed for as long as it says, seen from here.

use std::time::{Duration, Instant};

use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use time::{OffsetDateTime, macros::format_description};
use tokio::sync::watch;

use super::objects::{LeaseObject, LeaseSpec};

/// How long a lease is good without being renewed.
const GOOD: Duration = Duration::from_secs(15);
/// How often it is renewed, or asked for.
const RENEW: Duration = Duration::from_secs(3);

/// One that would lead.
pub(crate) struct Candidate {
    api: Api<LeaseObject>,
    /// Name of the lease.
    name: String,
    namespace: String,
    /// Name of this operator.
    identity: String,
    /// The lease as it was when it last changed, and when that was seen.
    seen: Option<(LeaseSpec, Instant)>,
    /// When it was last renewed from here.
    renewed: Option<Instant>,
}

impl Candidate {
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: String) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, name: name.to_owned(), namespace: namespace.to_owned(), identity, seen: None, renewed: None }
    }

    /// Asks for the lease for ever, and says whether it is held.
    pub(crate) async fn run(mut self, leads: watch::Sender<bool>) {
        loop {
            match self.step(Instant::now()).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "the lease cannot be asked for or renewed"),
            }
            // Whoever could not renew in time does not lead, before another one can.
            let held = self.renewed.is_some_and(|at| at.elapsed() < GOOD.saturating_sub(RENEW));
            if leads.send_if_modified(|leads| std::mem::replace(leads, held) != held) {
                tracing::info!(held, identity = self.identity, "leadership");
            }
            tokio::time::sleep(RENEW).await;
        }
    }

    async fn step(&mut self, now: Instant) -> Result<(), kube::Error> {
        let found = self.api.get_opt(&self.name).await?;
        let Some(found) = found else {
            let metadata = ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            };
            let lease = LeaseObject { metadata, spec: self.taken(&LeaseSpec::default()) };
            self.api.create(&PostParams::default(), &lease).await?;
            self.renewed = Some(now);
            return Ok(());
        };
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != found.spec) {
            self.seen = Some((found.spec.clone(), now));
        }
        let free = found.spec.holder_identity.as_deref().is_none_or(str::is_empty);
        let own = found.spec.holder_identity.as_deref() == Some(self.identity.as_str());
        let good = found.spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let good = good.map_or(GOOD, Duration::from_secs);
        let over = self.seen.as_ref().is_some_and(|(_, at)| now.duration_since(*at) > good);
        if !(free || own || over) {
            self.renewed = None;
            return Ok(());
        }
        // The version that was read is written over, or nothing is: of two that try, one does.
        let lease = LeaseObject { spec: self.taken(&found.spec), ..found };
        self.api.replace(&self.name, &PostParams::default(), &lease).await?;
        self.renewed = Some(now);
        Ok(())
    }

    /// The lease as it is when this one has it.
    fn taken(&self, before: &LeaseSpec) -> LeaseSpec {
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
        let now = OffsetDateTime::now_utc().format(format).ok();
        let own = before.holder_identity.as_deref() == Some(self.identity.as_str());
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(GOOD.as_secs()).ok(),
            acquire_time: if own { before.acquire_time.clone() } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(if own { transitions } else { transitions.saturating_add(1) }),
        }
    }
}
