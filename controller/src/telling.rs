//! An update on its way to a host: first the snapshots, in parts, then the message that puts everything in force.

use std::{collections::VecDeque, sync::Arc};

use andromede_proto::{
    agent::v1::{ControllerMessage, NetworkDelta, NetworkPart, NetworkView, Update, controller_message::Message},
    parts::PART_BYTES,
};
use prost::{Message as _, bytes::Bytes};

use crate::publish::{HostUpdate, Publisher, Snapshot};

/// Most bytes of the deltas in one update; a network whose delta does not fit is told from scratch, in parts.
const DELTA_BYTES: usize = 2 * PART_BYTES;

/// What is yet to be sent of an update.
#[derive(Debug)]
pub(crate) struct Telling {
    publisher: Arc<Publisher>,
    /// Does the host take snapshots in parts?
    in_parts: bool,
    snapshots: VecDeque<Snapshot>,
    /// The rest of the snapshot that is being sent.
    rest: Bytes,
    /// The last message; none once it is sent.
    update: Option<Update>,
}

impl Telling {
    /// Nothing of it is sent yet.
    pub(crate) fn new(publisher: &Arc<Publisher>, update: HostUpdate, in_parts: bool) -> Self {
        let mut snapshots: VecDeque<Snapshot> = update.snapshots.iter().cloned().collect();
        let (mut deltas, mut bytes) = (Vec::new(), 0_usize);
        for delta in &update.deltas {
            let message = NetworkDelta::from(delta.clone());
            let length = message.encoded_len();
            let fits = !in_parts || bytes.saturating_add(length) <= DELTA_BYTES;
            if let Some(snapshot) = update.snapshot(&delta.network).filter(|_| !fits) {
                snapshots.push_back(snapshot);
            } else {
                bytes = bytes.saturating_add(length);
                deltas.push(message);
            }
        }
        let last = Update {
            revision: update.revision,
            snapshots: Vec::new(),
            deltas,
            networks_left: update.left.iter().map(ToString::to_string).collect(),
            host: update.host.map(Into::into),
        };
        Self { publisher: Arc::clone(publisher), in_parts, snapshots, rest: Bytes::new(), update: Some(last) }
    }

    /// The next message; none once everything is sent.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            if !self.rest.is_empty() {
                let part = self.rest.split_to(self.rest.len().min(PART_BYTES));
                return Some(Message::NetworkPart(NetworkPart { view: part.into(), last: self.rest.is_empty() }));
            }
            let Some(snapshot) = self.snapshots.pop_front() else { return self.update.take().map(Message::Update) };
            let encoded = self.publisher.encoded(&snapshot).await.unwrap_or_default();
            if self.in_parts {
                self.rest = encoded;
            } else if let (Some(update), Ok(view)) = (&mut self.update, NetworkView::decode(encoded)) {
                update.snapshots.push(view);
            }
        }
    }
}

/// As it goes over the wire.
pub(crate) fn whole(message: Message) -> ControllerMessage {
    ControllerMessage { message: Some(message) }
}
