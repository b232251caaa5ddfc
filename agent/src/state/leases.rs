//! The file of leases.

use std::path::{Path, PathBuf};

use super::disk::{self, DiskError};
use crate::pods::lease::Leases;

/// The file that remembers them.
#[derive(Clone, Debug)]
pub struct LeaseFile {
    path: PathBuf,
}

impl LeaseFile {
    /// The file in this state folder.
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join("leases") }
    }

    /// Reads it. A damaged file is moved aside, and was lost for good only once another was written in its place.
    pub fn load(&self) -> Result<Leases, DiskError> {
        let Some(content) = disk::read_sealed(&self.path)? else {
            let aside = self.path.with_extension("damaged");
            if aside.exists() {
                let what = "set aside at an earlier start, and not replaced since".to_owned();
                return Err(DiskError::Damaged { path: self.path.clone(), what, aside });
            }
            return Ok(Leases::default());
        };
        serde_json::from_slice(&content).map_err(|error| disk::damaged(&self.path, error.to_string()))
    }

    /// Writes it.
    pub fn save(&self, leases: &Leases) -> Result<(), DiskError> {
        let content = serde_json::to_vec(leases).map_err(|error| DiskError::Io {
            path: self.path.clone(),
            action: "encode",
            source: error.into(),
        })?;
        disk::write_sealed_for_this_boot(&self.path, &content)
    }
}
