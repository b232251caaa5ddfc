//! The state out of the store.

use andromede_model::Model;

use crate::{
    checkpoint,
    publish::{Index, Move},
    record::Record,
    store::{Store, StoreError, Which},
};

/// Commits that are read from the store at once.
const STEP: usize = 1_024;

/// The state: the fold of the log, from the checkpoint on.
pub fn fold(store: &Store) -> Result<(Model, Index), StoreError> {
    let mut model = Model::default();
    let mut index = Index::default();
    if let Some((number, parts)) = store.read_checkpoint(Which::Last)? {
        let corrupt = |reason: String| StoreError::Corrupt { number, reason };
        let whole = checkpoint::read(&parts).map_err(|error| corrupt(error.to_string()))?;
        index.apply(&whole, &Move::all(&model, &whole));
        model = Model::restore(&whole).map_err(|error| corrupt(error.to_string()))?;
    }
    loop {
        let entries = store.read(model.revision(), STEP)?;
        if entries.is_empty() {
            return Ok((model, index));
        }
        for (number, bytes) in entries {
            let corrupt = |reason: String| StoreError::Corrupt { number, reason };
            let record = Record::read(&bytes).map_err(|error| corrupt(error.to_string()))?;
            let commit = record.into_commit().map_err(|error| corrupt(error.to_string()))?;
            let moves = Move::all(&model, &commit);
            model.commit(&commit).map_err(|error| corrupt(error.to_string()))?;
            index.apply(&commit, &moves);
        }
    }
}
