//! One image for all programs, from nothing: the programs, and the few libraries that they are linked to. Which program runs is the first
//! word of the container's command.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use andromede_testkit::image::Image;
use anyhow::{Context as _, Result};

use super::programs::Programs;
use crate::workspace;

/// Name of the image, without its version.
const NAME: &str = "localhost/andromede";

/// Folders that runtimes mount on, or programs write to.
const FOLDERS: &[&str] = &["dev", "etc", "host", "proc", "run", "sys", "tmp", "var/lib"];

/// Files that the C library reads: who there is, and where names are looked for.
const FILES: &[(&str, &str)] = &[
    ("etc/passwd", "root:x:0:0:root:/:/\nandromede:x:7470:7470:Andromède:/:/\n"),
    ("etc/group", "root:x:0:\nandromede:x:7470:\n"),
    ("etc/nsswitch.conf", "hosts: files dns\n"),
];

/// Writes the image as an archive that `podman load` and `ctr images import` read: its file.
pub(super) fn write(programs: &Programs, out: &Path) -> Result<PathBuf> {
    let work = tempfile::tempdir()?;
    let tree = work.path().join("tree");
    fill(programs, &tree)?;
    let version = env!("CARGO_PKG_VERSION");
    let labels = [
        ("org.opencontainers.image.title", "Andromède"),
        ("org.opencontainers.image.version", version),
        ("org.opencontainers.image.licenses", "EUPL-1.2"),
        ("org.opencontainers.image.description", "Tenant networks: controller, agent, CNI plugin, command line"),
    ];
    let name = format!("{NAME}:{version}");
    let archive = out.join(format!("andromede_{version}.oci.tar"));
    Image { name: &name, entry: &[], path: "/usr/bin", labels: &labels }.write(&tree, work.path(), &archive)?;
    Ok(archive)
}

/// Puts everything into the tree.
fn fill(programs: &Programs, tree: &Path) -> Result<()> {
    for folder in FOLDERS {
        fs::create_dir_all(tree.join(folder))?;
    }
    for (file, content) in FILES {
        fs::write(tree.join(file), content)?;
    }
    for name in Programs::names() {
        programs.install(name, &tree.join("usr/bin").join(name))?;
        for library in libraries(&programs.path(name))? {
            let to = tree.join(library.strip_prefix("/").unwrap_or(&library));
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::copy(&library, &to).with_context(|| format!("copying {}", library.display()))?;
        }
    }
    Ok(())
}

/// The libraries of a program, its loader among them.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let listed = workspace::output(Command::new("ldd").arg(program))?;
    Ok(listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_image_holds_all_that_its_programs_need() {
        let folder = tempfile::tempdir().unwrap();
        for name in Programs::names() {
            fs::copy("/bin/echo", folder.path().join(name)).unwrap();
        }
        let programs = Programs::of(folder.path());
        let tree = folder.path().join("tree");
        fill(&programs, &tree).unwrap();
        let mut inside = Command::new("chroot");
        let said = workspace::output(inside.arg(&tree).args(["/usr/bin/andromede-agent", "it", "runs"])).unwrap();
        assert_eq!(said, "it runs\n");

        let archives: Vec<Vec<u8>> =
            (0..2).map(|_| fs::read(write(&programs, folder.path()).unwrap()).unwrap()).collect();
        assert!(archives[0] == archives[1], "the same programs give the same image");
    }
}
