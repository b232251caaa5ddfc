//! Files that are either the old or the new content, never half of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// First bytes of a sealed file: name and version of the format.
const MAGIC: &[u8; 8] = b"AMSTATE1";
/// Length of the checksum behind the magic.
const DIGEST: usize = 32;
/// Most bytes of the content of a state file: a network of 100,000 ports takes about 30 MB. More is neither taken from the controller nor
/// written, so that what was told is read again.
pub const LARGEST_CONTENT: usize = 256 << 20;
/// Most bytes that are read of a file, with some room for what goes with the content.
const LARGEST: u64 = LARGEST_CONTENT as u64 + (1 << 10);

/// Why a state file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file system refused.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// The folder belongs to another host.
    #[error("--state {folder}: it is the folder of {recorded}; give this host a folder of its own")]
    OtherHost {
        /// The folder.
        folder: PathBuf,
        /// The host whose it is.
        recorded: String,
    },
    /// The content is not what was written.
    #[error("{path}: damaged ({what}); it was moved to {aside}, and its content is asked anew from the controller")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// Where it is now.
        aside: PathBuf,
    },
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> DiskError + use<> {
    let path = path.to_owned();
    move |source| DiskError::Io { path, action, source }
}

/// Makes a folder that only root may enter.
pub fn make_private_folder(path: &Path) -> Result<(), DiskError> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error(path, "create the folder"))
}

/// Writes `content` with a checksum: to a temporary file, then to the disk, then under its name.
pub fn write_sealed(path: &Path, content: &[u8]) -> Result<(), DiskError> {
    write(path, content, File::sync_all)?;
    sync_folder(path)
}

/// The same without waiting for the disk, for what does not survive a power cut either, such as the list of interfaces: a killed agent
/// finds it whole, and after a power cut it is the old one, the new one, or found damaged. Waiting costs tens of milliseconds.
pub fn write_sealed_for_this_boot(path: &Path, content: &[u8]) -> Result<(), DiskError> {
    write(path, content, |_| Ok(()))
}

fn write(path: &Path, content: &[u8], sync: fn(&File) -> io::Result<()>) -> Result<(), DiskError> {
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&temporary).map_err(io_error(&temporary, "create"))?;
    file.write_all(MAGIC)
        .and_then(|()| file.write_all(&Sha256::digest(content)))
        .and_then(|()| file.write_all(content))
        .and_then(|()| sync(&file))
        .map_err(io_error(&temporary, "write"))?;
    fs::rename(&temporary, path).map_err(io_error(path, "replace"))
}

/// Removes a file; it is no error if there is none.
pub fn remove(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, "remove")(error)),
        _ => sync_folder(path),
    }
}

/// The content that [`write_sealed`] wrote; none if there is no such file. A damaged file is moved aside.
pub fn read_sealed(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(LARGEST).read_to_end(&mut bytes).map_err(io_error(path, "read"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(path, "open")(error)),
    };
    let Some((head, content)) = bytes.split_at_checked(MAGIC.len() + DIGEST) else {
        return Err(damaged(path, "shorter than its header"));
    };
    if !head.starts_with(MAGIC) {
        return Err(damaged(path, "it does not begin with the mark of this format"));
    }
    if !head.ends_with(&Sha256::digest(content)) {
        return Err(damaged(path, "its checksum does not match"));
    }
    Ok(Some(content.to_vec()))
}

/// Moves a file aside and says so.
pub fn damaged(path: &Path, what: impl Into<String>) -> DiskError {
    let aside = path.with_extension("damaged");
    match fs::rename(path, &aside) {
        Ok(()) => DiskError::Damaged { path: path.to_owned(), what: what.into(), aside },
        Err(source) => DiskError::Io { path: path.to_owned(), action: "move the damaged file aside", source },
    }
}

/// A rename survives a power cut only once its folder is on the disk too.
fn sync_folder(path: &Path) -> Result<(), DiskError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder, "sync"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert!(read_sealed(&path).unwrap().is_none());
        write_sealed(&path, b"one").unwrap();
        write_sealed(&path, b"two").unwrap();
        assert_eq!(read_sealed(&path).unwrap().unwrap(), b"two");
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(read_sealed(&path).unwrap().is_none());
    }

    #[test]
    fn any_flipped_or_missing_byte_is_seen_and_the_file_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write_sealed(&path, b"content").unwrap();
        let good = fs::read(&path).unwrap();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(matches!(read_sealed(&path), Err(DiskError::Damaged { .. })), "flip at {position}");
            assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), bad);
            fs::write(&path, &good[..position]).unwrap();
            assert!(matches!(read_sealed(&path), Err(DiskError::Damaged { .. })), "cut at {position}");
        }
        assert!(read_sealed(&path).unwrap().is_none());
    }
}
