//! Snapshots that come in parts, until the update that puts them in force.

use andromede_proto::{
    agent::v1::{NetworkPart, NetworkView},
    parts::Joined,
    unknown::{self, Unknown},
};
use prost::Message as _;

use crate::{
    session::SessionError,
    state::{disk, unknown::Told},
};

/// What came so far.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    joined: Joined,
    /// Networks, each with what of it is not known.
    whole: Vec<(NetworkView, Vec<Unknown>)>,
}

impl Incoming {
    /// Takes a part in. A network may have as many bytes as its file.
    pub(crate) fn take(&mut self, part: &NetworkPart) -> Result<(), SessionError> {
        let long = |_| SessionError::Unexpected("more of one network than this agent stores");
        let Some(bytes) = self.joined.push(&part.view, part.last, disk::LARGEST_CONTENT).map_err(long)? else {
            return Ok(());
        };
        let view = NetworkView::decode(bytes.as_slice());
        let view = view.map_err(|_| SessionError::Unexpected("a network in parts that cannot be read"))?;
        self.whole.push((view, unknown::find::<NetworkView>(&bytes)));
        Ok(())
    }

    /// Adds the snapshots that came before an update to it.
    pub(crate) fn complete(&mut self, told: &mut Told) -> Result<(), SessionError> {
        if !self.joined.is_empty() {
            return Err(SessionError::Unexpected("an update in the middle of a network"));
        }
        self.whole.drain(..).for_each(|(view, unknown)| told.add(view, unknown));
        Ok(())
    }
}
