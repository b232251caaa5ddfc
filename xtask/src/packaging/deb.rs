//! Debian packages, written by dpkg-deb: the agent with the plugin, the controller, and `andromedectl`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::programs::Programs;
use crate::workspace;

/// A package.
struct Package {
    name: &'static str,
    /// Programs, and where they go.
    programs: &'static [(&'static str, &'static str)],
    /// Files of the repository, and where they go.
    files: &'static [(&'static str, &'static str)],
    /// The service, if it has one.
    unit: Option<&'static str>,
    /// First line and text of the description.
    description: (&'static str, &'static str),
}

const PACKAGES: &[Package] = &[
    Package {
        name: "andromede-agent",
        programs: &[("andromede-agent", "usr/bin/andromede-agent"), ("andromede-cni", "usr/lib/cni/andromede-cni")],
        files: &[
            ("packaging/systemd/andromede-agent.service", "usr/lib/systemd/system/andromede-agent.service"),
            ("packaging/systemd/andromede-agent.modules.conf", "usr/lib/modules-load.d/andromede-agent.conf"),
            ("packaging/systemd/agent.env.example", "usr/share/doc/andromede-agent/examples/agent.env"),
            ("docs/kubernetes.md", "usr/share/doc/andromede-agent/kubernetes.md"),
        ],
        unit: Some("andromede-agent.service"),
        description: (
            "tenant networks: agent of a host, and CNI plugin",
            "Programs the packet path (eBPF) that puts the traffic of each tenant into a VXLAN\n network of its own and filters it, \
             as the controller tells.",
        ),
    },
    Package {
        name: "andromede-controller",
        programs: &[("andromede-controller", "usr/bin/andromede-controller")],
        files: &[
            ("packaging/systemd/andromede-controller.service", "usr/lib/systemd/system/andromede-controller.service"),
            ("packaging/systemd/controller.env.example", "usr/share/doc/andromede-controller/examples/controller.env"),
        ],
        unit: Some("andromede-controller.service"),
        description: (
            "tenant networks: controller",
            "Keeps tenants, networks, ports and security groups, and tells every host what to\n do.",
        ),
    },
    Package {
        name: "andromedectl",
        programs: &[("andromedectl", "usr/bin/andromedectl")],
        files: &[("docs/andromedectl.md", "usr/share/doc/andromedectl/andromedectl.md")],
        unit: None,
        description: (
            "tenant networks: command line",
            "Describes networks and rules, and says why a packet was dropped, and by which\n rule.",
        ),
    },
];

/// What every package has beside its own files.
const DOCUMENTS: &[&str] = &["docs/install.md", "docs/dependencies.md", "packaging/debian/copyright", "LICENSE"];

/// Completion of `andromedectl` in shells, and where they look for it.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions/andromedectl"),
    ("zsh", "usr/share/zsh/vendor-completions/_andromedectl"),
    ("fish", "usr/share/fish/vendor_completions.d/andromedectl.fish"),
];

/// Writes every package: their files.
pub(super) fn write(programs: &Programs, out: &Path) -> Result<Vec<PathBuf>> {
    PACKAGES.iter().map(|package| package.write(programs, out)).collect()
}

impl Package {
    fn write(&self, programs: &Programs, out: &Path) -> Result<PathBuf> {
        let work = tempfile::tempdir()?;
        let tree = work.path().join("tree");
        for (program, place) in self.programs {
            programs.install(program, &tree.join(place))?;
        }
        if self.name == "andromedectl" {
            for (shell, place) in COMPLETIONS {
                let mut completion = Command::new(programs.path("andromedectl"));
                let script = workspace::output(completion.args(["completion", shell]))?;
                place_file(&tree.join(place), script.as_bytes(), 0o644)?;
            }
        }
        let documents = DOCUMENTS.iter().map(|file| {
            let name = Path::new(file).file_name().unwrap_or_default();
            (*file, Path::new("usr/share/doc").join(self.name).join(name))
        });
        for (file, place) in self.files.iter().map(|(file, place)| (*file, PathBuf::from(place))).chain(documents) {
            place_file(&tree.join(place), &read(file)?, 0o644)?;
        }
        if self.unit.is_some() {
            // Keys are in it.
            let folder = tree.join("etc/andromede");
            fs::create_dir_all(&folder)?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        }
        self.describe(programs, &tree)?;
        let file = out.join(format!("{}_{}_{}.deb", self.name, version(), architecture()?));
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).arg(&tree).arg(&file).stdout(std::process::Stdio::null());
        // The same files give the same package.
        workspace::run(build.env("SOURCE_DATE_EPOCH", "0"))?;
        Ok(file)
    }

    /// Writes what dpkg reads.
    fn describe(&self, programs: &Programs, tree: &Path) -> Result<()> {
        let names: Vec<&str> = self.programs.iter().map(|(program, _)| *program).collect();
        let (major, minor) = programs.libc(&names)?;
        let (line, text) = self.description;
        let size = workspace::output(Command::new("du").args(["-sk", "--apparent-size"]).arg(tree))?;
        let size = size.split_whitespace().next().unwrap_or("0").to_owned();
        let control = format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: Andromède <packages@andromede.invalid>\nSection: net\nPriority: optional\n\
             Installed-Size: {size}\nDepends: libc6 (>= {major}.{minor}), libgcc-s1\nDescription: {line}\n {text}\n",
            self.name,
            version(),
            architecture()?,
        );
        let folder = tree.join("DEBIAN");
        place_file(&folder.join("md5sums"), sums(tree)?.as_bytes(), 0o644)?;
        place_file(&folder.join("control"), control.as_bytes(), 0o644)?;
        if let Some(unit) = self.unit {
            for script in ["postinst", "prerm", "postrm"] {
                let content = String::from_utf8(read(&format!("packaging/debian/{script}"))?)?;
                place_file(&folder.join(script), content.replace("@UNIT@", unit).as_bytes(), 0o755)?;
            }
        }
        Ok(())
    }
}

/// The sums that `debsums` compares.
fn sums(tree: &Path) -> Result<String> {
    let mut find = Command::new("find");
    find.current_dir(tree).args(["usr", "-type", "f", "-exec", "md5sum", "{}", "+"]);
    let mut lines: Vec<String> = workspace::output(&mut find)?.lines().map(|line| format!("{line}\n")).collect();
    lines.sort_by(|a, b| a.split_whitespace().last().cmp(&b.split_whitespace().last()));
    Ok(lines.concat())
}

fn version() -> String {
    format!("{}-1", env!("CARGO_PKG_VERSION"))
}

fn architecture() -> Result<String> {
    Ok(workspace::output(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned())
}

fn read(file: &str) -> Result<Vec<u8>> {
    fs::read(workspace::root().join(file)).with_context(|| format!("reading {file}"))
}

fn place_file(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Small programs in the place of the true ones: a test of packages needs no release build.
    fn stand_ins(folder: &Path) -> Programs {
        for name in Programs::names() {
            fs::copy("/bin/echo", folder.join(name)).unwrap();
        }
        Programs::of(folder)
    }

    fn said(command: &mut Command) -> String {
        workspace::output(command).unwrap()
    }

    #[test]
    fn packages_install_into_a_fresh_root_and_start_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let packages = write(&stand_ins(folder.path()), folder.path()).unwrap();
        assert_eq!(packages.len(), PACKAGES.len());
        let root = folder.path().join("root");
        for part in ["info", "triggers", "updates"] {
            fs::create_dir_all(root.join("var/lib/dpkg").join(part)).unwrap();
        }
        fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        let dpkg = |arguments: &[&str]| {
            let mut dpkg = Command::new("dpkg");
            dpkg.arg("--root").arg(&root).args(["--force-depends", "--force-not-root", "--force-script-chrootless"]);
            dpkg.args(arguments).env("LC_ALL", "C").stderr(std::process::Stdio::null());
            workspace::run(dpkg.stdout(std::process::Stdio::null())).unwrap();
        };
        let files: Vec<&str> = packages.iter().map(|package| package.to_str().unwrap()).collect();
        dpkg(&[&["--install"], files.as_slice()].concat());
        // Again, as an upgrade does.
        dpkg(&[&["--install"], files.as_slice()].concat());
        for package in PACKAGES {
            let placed = package.programs.iter().chain(package.files).map(|(_, place)| *place);
            for place in placed {
                assert!(root.join(place).is_file(), "{place}");
            }
            let doc = root.join("usr/share/doc").join(package.name);
            assert!(doc.join("copyright").is_file() && doc.join("LICENSE").is_file());
        }
        assert!(COMPLETIONS.iter().all(|(_, place)| root.join(place).is_file()));
        assert_eq!(fs::metadata(root.join("etc/andromede")).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!root.join("etc/systemd").exists(), "no service is enabled");
        assert_eq!(fs::read_dir(root.join("etc/andromede")).unwrap().count(), 0, "and none is configured");
        dpkg(&["--purge", "andromede-agent", "andromede-controller", "andromedectl"]);
        assert!(!root.join("usr/bin/andromede-agent").exists() && !root.join("usr/lib/cni").exists());
    }

    #[test]
    fn packages_say_what_they_are_and_are_the_same_again() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("1"), folder.path().join("2"));
        let programs = stand_ins(folder.path());
        let mut sums = Vec::new();
        for out in [&one, &two] {
            fs::create_dir(out).unwrap();
            sums.push(write(&programs, out).unwrap().iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>());
        }
        assert!(sums[0] == sums[1], "the same programs give the same packages");
        for package in PACKAGES {
            let file = one.join(format!("{}_{}_{}.deb", package.name, version(), architecture().unwrap()));
            let field =
                |name: &str| said(Command::new("dpkg-deb").arg("--field").arg(&file).arg(name)).trim().to_owned();
            assert_eq!(field("Package"), package.name);
            assert!(field("Depends").contains("libc6 (>= 2."), "{}", field("Depends"));
            assert!(field("Installed-Size").parse::<u32>().unwrap() > 0);
            let listed = said(Command::new("dpkg-deb").arg("--contents").arg(&file));
            assert!(listed.lines().all(|line| line.contains("root/root")), "everything is root's:\n{listed}");
        }
    }
}
