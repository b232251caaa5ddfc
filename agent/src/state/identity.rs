//! Whose pins these are.

use std::path::{Path, PathBuf};

use andromede_dataplane::{Identity, IdentityError, IdentityMismatch, InstanceName, PinError, Pins};

use super::disk::{self, DiskError};

/// Why pins cannot be adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Made for something else.
    #[error(
        "instance {instance} cannot be adopted: {mismatch}; `andromede-agent cleanup --instance {instance}`, run in the namespace it was made in, removes it"
    )]
    Mismatch {
        /// The instance.
        instance: InstanceName,
        /// What differs.
        mismatch: IdentityMismatch,
    },
    /// Nobody knows.
    #[error(
        "instance {0} has pins, but this --state folder does not know them: give the folder that they were made with, or remove them with `andromede-agent cleanup --instance {0}`"
    )]
    Unrecorded(InstanceName),
    /// The present identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The pins.
    #[error(transparent)]
    Pins(#[from] PinError),
    /// The file.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Checks that the pins, if there are any, were made by this instance in this network namespace, and records that they are now.
/// An uplink that was replaced is no obstacle: rows and programs that name the old one are corrected by the first pass.
pub fn claim(state: &Path, pins: &Pins, instance: &InstanceName, underlay: &str) -> Result<(), AdoptError> {
    let path = path(state);
    let present = Identity::read(instance, underlay)?;
    let recorded = match disk::read_sealed(&path) {
        Err(damaged @ DiskError::Damaged { .. }) => {
            tracing::error!(%damaged, "state file set aside");
            None
        }
        other => other?.and_then(|content| serde_json::from_slice::<Identity>(&content).ok()),
    };
    if pins.folder().exists() && !pins.is_empty()? {
        let recorded = recorded.ok_or_else(|| AdoptError::Unrecorded(instance.clone()))?;
        let same_uplink = Identity {
            underlay: present.underlay.clone(),
            underlay_ifindex: present.underlay_ifindex,
            underlay_mac: present.underlay_mac,
            ..recorded
        };
        present
            .check(&same_uplink)
            .map_err(|mismatch| AdoptError::Mismatch { instance: instance.clone(), mismatch })?;
    }
    let content = serde_json::to_vec(&present).map_err(|error| DiskError::Io {
        path: path.clone(),
        action: "encode",
        source: error.into(),
    })?;
    Ok(disk::write_sealed(&path, &content)?)
}

fn path(state: &Path) -> PathBuf {
    state.join("identity")
}
