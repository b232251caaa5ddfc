//! The programs that are shipped, as they were built.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::workspace;

/// Crates, and the programs that they are built to.
const SHIPPED: &[(&str, &str)] = &[
    ("andromede-agent", "andromede-agent"),
    ("andromede-cni", "andromede-cni"),
    ("andromede-controller", "andromede-controller"),
    ("andromede-cli", "andromedectl"),
    ("andromede-cluster", "andromede-operator"),
];

/// A folder with the programs.
#[derive(Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Those in a folder.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Builds them for release.
    pub(crate) fn build() -> Result<Self> {
        let mut build = workspace::cargo(&["build", "--release", "--locked", "--bins"]);
        for (package, _) in SHIPPED {
            build.args(["--package", package]);
        }
        workspace::run(&mut build)?;
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace::root().join("target"), PathBuf::from);
        Ok(Self::of(&target.join("release")))
    }

    /// Names of all.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(_, program)| *program)
    }

    /// Where one is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Copies one to its place without what only a debugger reads.
    pub(crate) fn install(&self, name: &str, to: &Path) -> Result<()> {
        let from = self.path(name);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut strip = Command::new("strip");
        strip.args(["--strip-unneeded", "-o"]).arg(to).arg(&from);
        workspace::run(&mut strip).with_context(|| format!("copying {}", from.display()))
    }

    /// The oldest version of the C library with which these programs run, from the versions of the symbols that they ask for.
    pub(crate) fn libc(&self, names: &[&str]) -> Result<(u32, u32)> {
        let mut oldest = (2, 17);
        for name in names {
            let path = self.path(name);
            let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            oldest = versions(&bytes).into_iter().fold(oldest, std::cmp::max);
        }
        Ok(oldest)
    }
}

/// Every `GLIBC_x.y` in a program.
fn versions(bytes: &[u8]) -> BTreeSet<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    let starts = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let version = |(start, _): (usize, &[u8])| {
        let rest = bytes.get(start + MARK.len()..)?;
        let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
        let (major, minor) = std::str::from_utf8(rest.get(..end)?).ok()?.split_once('.')?;
        Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
    };
    starts.filter_map(version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_c_library_are_found_in_symbols() {
        let bytes = b"\0GLIBC_2.34\0x GLIBC_2.2.5\0GLIBC_PRIVATE\0GLIBC_2.4";
        assert_eq!(versions(bytes), BTreeSet::from([(2, 2), (2, 34)]));
    }
}
