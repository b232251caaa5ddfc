//! Certificates and keys on disk: keys are never readable by others, not even for a moment.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// Most bytes of a certificate or key file that are read.
const MAX_FILE: u64 = 1 << 20;

/// A certificate and its key in PEM.
pub(super) struct Pem {
    /// The certificate.
    pub(super) certificate: String,
    /// Its private key.
    pub(super) key: String,
}

/// Paths of a certificate and its key.
pub(super) struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    /// `DIR/STEM.pem` and `DIR/STEM.key`.
    pub(super) fn new(dir: &Path, stem: &str) -> Self {
        Self { certificate: dir.join(format!("{stem}.pem")), key: dir.join(format!("{stem}.key")) }
    }

    /// Reads both.
    pub(super) fn read(&self) -> Result<Pem, Failure> {
        let hint = |error: Failure| match error {
            Failure::Refused(text) => Failure::Refused(format!("{text}; andromedectl pki init makes an authority")),
            other => other,
        };
        Ok(Pem { certificate: read(&self.certificate).map_err(hint)?, key: read(&self.key).map_err(hint)? })
    }

    /// Writes both, key first; refuses to replace any without `force`.
    pub(super) fn write(&self, pem: &Pem, force: bool) -> Result<(), Failure> {
        for path in [&self.key, &self.certificate] {
            if !force && path.symlink_metadata().is_ok() {
                return Err(Failure::Refused(format!("{} is there already; --force replaces it", path.display())));
            }
        }
        write(&self.key, &pem.key, 0o600, force)?;
        write(&self.certificate, &pem.certificate, 0o644, force)
    }

    /// The paths, for the user.
    pub(super) fn told(&self) -> String {
        format!("certificate {}\nkey         {}\n", self.certificate.display(), self.key.display())
    }
}

/// Reads a file of at most 1 MiB.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let size = fs::metadata(path).map_err(|error| Failure::file(path, &error))?.len();
    if size > MAX_FILE {
        return Err(Failure::Refused(format!("{}: {size} bytes are no certificate or key", path.display())));
    }
    fs::read_to_string(path).map_err(|error| Failure::file(path, &error))
}

/// Makes a folder that only its owner may enter, and those above it.
pub(super) fn make_folder(dir: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| Failure::file(dir, &error))
}

/// Writes beside the path and renames, so that nobody sees half a file or a file with wide permissions.
fn write(path: &Path, text: &str, mode: u32, force: bool) -> Result<(), Failure> {
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A link, unlike a rename, does not replace what came there meanwhile.
        if force { fs::rename(&temporary, path) } else { fs::hard_link(&temporary, path) }
    };
    let written = write().map_err(|error| Failure::file(path, &error));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => written.and(Err(Failure::file(&temporary, &error))),
        _ => written,
    }
}
