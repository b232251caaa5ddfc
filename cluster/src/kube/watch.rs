//! What the API server tells: first all objects of a kind, page by page, then each change; and again from the beginning when it must.

use std::{fmt::Debug, future::Future, hash::Hash};

use futures::StreamExt as _;
use kube::{
    Api, Client, Resource,
    runtime::{WatchStreamExt as _, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

/// Objects of one page of a list.
const PAGE: u32 = 500;

/// One step of what is known of a kind of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step<K, V> {
    /// All of them follow.
    Begin,
    /// One of all.
    Found(K, V),
    /// Those were all: others are gone.
    Done,
    /// One is like this now.
    Put(K, V),
    /// One is gone.
    Gone(K),
}

/// Watches all objects of a kind for ever. Of each only what `keep` makes of it goes on; an object of which it makes nothing is not there.
pub(crate) fn watch<O, K, V, T>(
    client: Client,
    keep: impl Fn(O) -> (K, Option<V>) + Send + Copy + 'static,
    wrap: impl Fn(Step<K, V>) -> T + Send + Copy + 'static,
    told: mpsc::Sender<T>,
) -> impl Future<Output = ()> + Send
where
    O: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    K: Clone + Debug + Eq + Hash + Send + 'static,
    V: Send + 'static,
    T: Send + 'static,
{
    let config = watcher::Config::default().page_size(PAGE);
    let stream = watcher(Api::<O>::all(client), config).default_backoff();
    async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            let step = match event {
                Ok(watcher::Event::Init) => Step::Begin,
                Ok(watcher::Event::InitDone) => Step::Done,
                Ok(watcher::Event::InitApply(object)) => match keep(object) {
                    (key, Some(value)) => Step::Found(key, value),
                    (_, None) => continue,
                },
                Ok(watcher::Event::Apply(object)) => match keep(object) {
                    (key, Some(value)) => Step::Put(key, value),
                    (key, None) => Step::Gone(key),
                },
                Ok(watcher::Event::Delete(object)) => Step::Gone(keep(object).0),
                Err(error) => {
                    tracing::warn!(kind = %O::kind(&()), %error, "the API server does not answer; what is known stays");
                    continue;
                }
            };
            if told.send(wrap(step)).await.is_err() {
                return;
            }
        }
    }
}
