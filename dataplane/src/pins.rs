//! The folder of pins of one instance: `<bpffs>/andromede/<instance>/`.
//!
//! | name | what |
//! | --- | --- |
//! | `<table>@<layout>` | a table |
//! | `link-<hook>-<ifindex>` | a tcx link |
//! | `filter-<hook>-<ifindex>` | the program of a clsact filter; the filter itself is on the device |
//!
//! Nothing else may be there: what this build does not know it refuses by name, and touches nothing.

use std::{
    ffi::OsString,
    fmt, fs, io,
    os::{fd::BorrowedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    str::FromStr,
};

use andromede_abi::maps::{self, Table};
use nix::fcntl::{Flock, FlockArg};

use crate::{Hook, sys};

/// Most characters of an instance's name.
const NAME_LENGTH_MAX: usize = 32;

/// Name of an instance: 1 to 32 characters out of a-z, 0-9, `-` and `_` (bpffs allows no dot).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceName(String);

/// A name that an instance cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instance name {0:?} is not 1 to 32 characters out of a-z, 0-9, '-' and '_'; choose one that is")]
pub struct BadInstanceName(pub String);

impl FromStr for InstanceName {
    type Err = BadInstanceName;

    fn from_str(name: &str) -> Result<Self, BadInstanceName> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        if (1..=NAME_LENGTH_MAX).contains(&name.len()) && name.bytes().all(good) {
            Ok(Self(name.to_owned()))
        } else {
            Err(BadInstanceName(name.to_owned()))
        }
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the folder of pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The folder is not on a bpf file system.
    #[error("{path} is not on a bpf file system; mount one: mount -t bpf bpf {path}", path = .0.display())]
    NotBpffs(PathBuf),
    /// Something in the folder that this build does not know.
    #[error("{path} is no pin that this build knows; an other version made it: run that version, or remove it", path = .0.display())]
    Unknown(PathBuf),
    /// Another process works with the same instance.
    #[error("{path} is in use by another process; stop it, or choose another instance name", path = .0.display())]
    InUse(PathBuf),
    /// The kernel refused.
    #[error("{what} {path}", path = .path.display())]
    Os {
        /// What was tried.
        what: &'static str,
        /// On which pin.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// How a program is held at a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// A tcx link (Linux 6.6 and later).
    Tcx,
    /// A filter on the clsact queueing discipline.
    Clsact,
}

impl Form {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Tcx => "link",
            Self::Clsact => "filter",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

/// A program that is pinned at a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attachment {
    /// Where.
    pub hook: Hook,
    /// At which device.
    pub ifindex: u32,
    /// How.
    pub form: Form,
}

/// What a name in the folder means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pin {
    Table,
    /// A table of an older layout: what was attached before uses it, until an upgrade is through.
    Older,
    Attachment(Attachment),
    /// Left behind by a process that died while it replaced a pin.
    Remnant,
}

const REMNANT: &str = "new-";

fn meaning(name: &str) -> Option<Pin> {
    if maps::ALL.iter().any(|table| table_name(table) == name) {
        return Some(Pin::Table);
    }
    if is_older(name) {
        return Some(Pin::Older);
    }
    let mut parts = name.splitn(3, '-');
    let (form, hook, ifindex) = (parts.next()?, parts.next()?, parts.next());
    if form == "new" {
        return Some(Pin::Remnant);
    }
    let form = [Form::Tcx, Form::Clsact].into_iter().find(|known| known.prefix() == form)?;
    let (hook, ifindex) = (hook.parse().ok()?, ifindex?.parse().ok()?);
    Some(Pin::Attachment(Attachment { hook, ifindex, form }))
}

/// Is this a table of ours in a layout that went before the present one?
fn is_older(name: &str) -> bool {
    let Some((table, layout)) = name.split_once('@') else { return false };
    let Some(table) = maps::ALL.iter().find(|known| known.name == table) else { return false };
    layout.parse::<u32>().is_ok_and(|layout| layout >= 1 && layout < table.layout)
}

fn table_name(table: &Table) -> String {
    format!("{}@{}", table.name, table.layout)
}

/// Keeps other processes out of a folder of pins.
#[derive(Debug)]
pub(crate) struct PinLock {
    _lock: Flock<fs::File>,
}

/// The folder of pins of one instance.
#[derive(Clone, Debug)]
pub struct Pins {
    folder: PathBuf,
}

impl Pins {
    /// The folder of this instance; it need not exist yet.
    pub fn new(bpffs: &Path, instance: &InstanceName) -> Self {
        Self { folder: bpffs.join("andromede").join(&instance.0) }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder, for root only, and checks that the kernel can pin there and that everything in it is known.
    pub fn prepare(&self) -> Result<(), PinError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|source| os("cannot make", self.folder.clone(), source))?;
        let file_system = nix::sys::statfs::statfs(&self.folder)
            .map_err(|errno| os("cannot inspect", self.folder.clone(), errno.into()))?;
        if file_system.filesystem_type() != nix::sys::statfs::BPF_FS_MAGIC {
            return Err(PinError::NotBpffs(self.folder.clone()));
        }
        for (pin, path) in self.read()? {
            if pin == Pin::Remnant {
                fs::remove_file(&path).map_err(|source| os("cannot remove", path, source))?;
            }
        }
        Ok(())
    }

    /// Is nothing pinned? Then there is nothing to adopt.
    pub fn is_empty(&self) -> Result<bool, PinError> {
        Ok(self.read()?.is_empty())
    }

    /// The programs that are pinned at devices.
    pub fn attachments(&self) -> Result<Vec<Attachment>, PinError> {
        let mut found: Vec<Attachment> = self
            .read()?
            .into_iter()
            .filter_map(|(pin, _)| match pin {
                Pin::Attachment(attachment) => Some(attachment),
                Pin::Table | Pin::Older | Pin::Remnant => None,
            })
            .collect();
        found.sort();
        Ok(found)
    }

    /// Takes the folder for this process, as long as the lock lives; it goes with the process, however that ends.
    pub(crate) fn lock(&self) -> Result<PinLock, PinError> {
        let failed = |source| os("cannot lock", self.folder.clone(), source);
        let folder = fs::File::open(&self.folder).map_err(failed)?;
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(PinLock { _lock: lock }),
            Err((_, nix::Error::EWOULDBLOCK)) => Err(PinError::InUse(self.folder.clone())),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// Every pin that is not an attachment.
    pub(crate) fn others(&self) -> Result<Vec<PathBuf>, PinError> {
        let found = self.read()?.into_iter();
        Ok(found.filter(|(pin, _)| !matches!(pin, Pin::Attachment(_))).map(|(_, path)| path).collect())
    }

    pub(crate) fn table(&self, table: &Table) -> PathBuf {
        self.folder.join(table_name(table))
    }

    /// The tables of older layouts.
    pub(crate) fn older(&self) -> Result<Vec<PathBuf>, PinError> {
        Ok(self.read()?.into_iter().filter(|(pin, _)| *pin == Pin::Older).map(|(_, path)| path).collect())
    }

    /// Where the connections of the layout before are, if there are any.
    pub(crate) fn older_flows(&self) -> PathBuf {
        self.table(&maps::FLOWS_BEFORE)
    }

    pub(crate) fn attachment(&self, attachment: Attachment) -> PathBuf {
        let Attachment { hook, ifindex, form } = attachment;
        self.folder.join(format!("{}-{hook}-{ifindex}", form.prefix()))
    }

    /// Pins an object in the place of another, in one step.
    pub(crate) fn replace(&self, fd: BorrowedFd<'_>, path: &Path) -> Result<(), PinError> {
        let name = path.file_name().unwrap_or_default();
        let mut fresh = OsString::from(REMNANT);
        fresh.push(name);
        let fresh = self.folder.join(fresh);
        sys::pin(fd, &fresh).map_err(|source| os("cannot pin", fresh.clone(), source))?;
        fs::rename(&fresh, path).map_err(|source| os("cannot replace", path.to_owned(), source))
    }

    /// Everything in the folder, or the first thing that is not known; nothing if there is no folder.
    fn read(&self) -> Result<Vec<(Pin, PathBuf)>, PinError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(os("cannot list", self.folder.clone(), source)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(|source| os("cannot list", self.folder.clone(), source))?.path();
            match path.file_name().and_then(|name| name.to_str()).and_then(meaning) {
                Some(pin) => found.push((pin, path)),
                None => return Err(PinError::Unknown(path)),
            }
        }
        Ok(found)
    }
}

fn os(what: &'static str, path: PathBuf, source: io::Error) -> PinError {
    PinError::Os { what, path, source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn names_have_one_meaning() {
        let attachment = Attachment { hook: Hook::FromHost, ifindex: 7, form: Form::Clsact };
        let pins = Pins::new(Path::new("/b"), &"host-1".parse().unwrap());
        assert_eq!(pins.attachment(attachment), Path::new("/b/andromede/host-1/filter-from_host-7"));
        assert_eq!(meaning("filter-from_host-7"), Some(Pin::Attachment(attachment)));
        assert_eq!(meaning("PORTS@2"), Some(Pin::Table));
        assert_eq!(meaning("PORTS@1"), Some(Pin::Older));
        assert_eq!(meaning("FLOWS@1"), Some(Pin::Older));
        assert_eq!(meaning("new-link-from_host-7"), Some(Pin::Remnant));
        for strange in ["PORTS@3", "ports@2", "link-from_host-", "link-from_host-x", "link-nowhere-7", "tail", ""] {
            assert_eq!(meaning(strange), None, "{strange}");
        }
    }

    #[test]
    fn instance_names_are_checked() {
        for good in ["a", "host-1", "a_b", &"x".repeat(32)] {
            assert_eq!(good.parse::<InstanceName>().unwrap().to_string(), good);
        }
        for bad in ["", "A", "a.b", "a/b", "..", "é", &"x".repeat(33)] {
            assert!(bad.parse::<InstanceName>().is_err(), "{bad}");
        }
    }
}
