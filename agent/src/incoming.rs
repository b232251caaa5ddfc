//! Snapshots that come in parts, until the update that puts them in force.

use andromede_proto::{
    agent::v1::{NetworkPart, NetworkView, Update},
    parts::Joined,
};
use prost::Message as _;

use crate::{session::SessionError, state::disk};

/// What came so far.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    joined: Joined,
    whole: Vec<NetworkView>,
}

impl Incoming {
    /// Takes a part in. A network may have as many bytes as its file.
    pub(crate) fn take(&mut self, part: &NetworkPart) -> Result<(), SessionError> {
        let long = |_| SessionError::Unexpected("more of one network than this agent stores");
        let Some(bytes) = self.joined.push(&part.view, part.last, disk::LARGEST_CONTENT).map_err(long)? else {
            return Ok(());
        };
        let view = NetworkView::decode(bytes.as_slice());
        self.whole.push(view.map_err(|_| SessionError::Unexpected("a network in parts that cannot be read"))?);
        Ok(())
    }

    /// Adds the snapshots that came before an update to it.
    pub(crate) fn complete(&mut self, update: &mut Update) -> Result<(), SessionError> {
        if !self.joined.is_empty() {
            return Err(SessionError::Unexpected("an update in the middle of a network"));
        }
        update.snapshots.append(&mut self.whole);
        Ok(())
    }
}
