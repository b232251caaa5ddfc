//! Events: what people see with `kubectl describe`.

use std::collections::BTreeSet;

use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::objects::EventObject;

/// Most events that are remembered as told.
const REMEMBERED: usize = 10_000;

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct About {
    /// "v1" or "networking.k8s.io/v1".
    pub(crate) api_version: &'static str,
    /// "Pod" or "NetworkPolicy".
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// Tells events, each once.
#[derive(Debug, Default)]
pub(crate) struct Events {
    told: BTreeSet<(About, &'static str, String)>,
}

impl Events {
    /// Forgets what is not among these any more, of those with this reason: when it comes again it is told again.
    pub(crate) fn keep(&mut self, reason: &str, still: &BTreeSet<(About, String)>) {
        self.told.retain(|(about, why, note)| *why != reason || still.contains(&(about.clone(), note.clone())));
    }

    /// Tells a warning about an object, unless it was told. An API server that does not take it is asked no second time.
    pub(crate) async fn warn(&mut self, client: &Client, about: About, reason: &'static str, note: String) {
        if self.told.len() >= REMEMBERED || !self.told.insert((about.clone(), reason, note.clone())) {
            return;
        }
        let (kind, namespace, name) = (about.kind, &about.namespace, &about.name);
        tracing::warn!(kind, namespace, name, reason, note);
        if let Err(error) = create(client, &about, reason, &note).await {
            tracing::warn!(%error, "an event could not be written");
        }
    }
}

async fn create(client: &Client, about: &About, reason: &str, note: &str) -> Result<(), kube::Error> {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).ok().and_then(|now| now.format(&Rfc3339).ok());
    let event = EventObject {
        metadata: ObjectMeta {
            generate_name: Some("andromede-".to_owned()),
            namespace: Some(about.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: json!({
            "apiVersion": about.api_version, "kind": about.kind, "namespace": about.namespace, "name": about.name, "uid": about.uid,
        }),
        r#type: "Warning".to_owned(),
        reason: reason.to_owned(),
        message: note.to_owned(),
        count: 1,
        first_timestamp: now.clone(),
        last_timestamp: now,
        source: json!({"component": "andromede-operator"}),
    };
    Api::namespaced(client.clone(), &about.namespace).create(&PostParams::default(), &event).await.map(drop)
}
