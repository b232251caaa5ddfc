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
use tokio::{sync::watch, time::timeout};

use super::objects::{LeaseObject, LeaseSpec};

/// Times of a lease.
#[derive(Clone, Copy, Debug)]
struct Terms {
    /// How long it is good without being renewed. The API has whole seconds.
    good: Duration,
    /// How often it is renewed, or asked for; and how long the API server may take to answer: whoever waits for it must notice in time that
    /// the lease is over.
    renew: Duration,
}

const TERMS: Terms = Terms { good: Duration::from_secs(15), renew: Duration::from_secs(3) };

/// One that would lead.
pub(crate) struct Candidate {
    api: Api<LeaseObject>,
    /// Name of the lease.
    name: String,
    namespace: String,
    /// Name of this operator.
    identity: String,
    terms: Terms,
    /// The lease as it was when it last changed, and when that was seen.
    seen: Option<(LeaseSpec, Instant)>,
    /// When it was last renewed from here.
    renewed: Option<Instant>,
}

impl Candidate {
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: String) -> Self {
        let api = Api::namespaced(client, namespace);
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        Self { api, name, namespace, identity, terms: TERMS, seen: None, renewed: None }
    }

    /// Asks for the lease for ever, and says whether it is held.
    pub(crate) async fn run(mut self, leads: watch::Sender<bool>) {
        let Terms { good, renew } = self.terms;
        loop {
            match timeout(renew, self.step(Instant::now())).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be asked for or renewed"),
                Err(_) => tracing::warn!("the API server does not answer about the lease"),
            }
            // Whoever could not renew in time does not lead, before another one can.
            let held = self.renewed.is_some_and(|at| at.elapsed() < good.saturating_sub(renew));
            if leads.send_if_modified(|leads| std::mem::replace(leads, held) != held) {
                tracing::info!(held, identity = self.identity, "leadership");
            }
            tokio::time::sleep(renew).await;
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
        let good = good.map_or(self.terms.good, Duration::from_secs);
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
            lease_duration_seconds: i32::try_from(self.terms.good.as_secs()).ok(),
            acquire_time: if own { before.acquire_time.clone() } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(if own { transitions } else { transitions.saturating_add(1) }),
        }
    }
}

#[cfg(test)]
mod tests;
