//! What a cluster is made of, built once and kept: etcd and kubectl from Debian's packages, Kubernetes from its source package.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use andromede_testkit::{image::Image, requires};
use anyhow::{Context as _, Result, ensure};

use super::say;
use crate::workspace;

/// Where Debian 12 keeps its packages and their sources: an apt configuration of its own leaves that of the machine as it is.
const SOURCES: &str = "Types: deb deb-src\nURIs: http://deb.debian.org/debian\nSuites: bookworm\nComponents: main\n\
                       Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";

/// Packages that are unpacked, not installed: what a cluster runs, and what Kubernetes is built with.
const PACKAGES: &[&str] = &[
    "etcd-server",
    "kubernetes-client",
    "rsync",
    "libpopt0",
    "golang-1.19-go",
    "golang-1.19-src",
    "golang-github-modern-go-reflect2-dev",
];

/// What is built of Kubernetes for every run, the program of its tests' pods among it.
const SERVERS: &[&str] = &[
    "cmd/kube-apiserver",
    "cmd/kube-controller-manager",
    "cmd/kube-scheduler",
    "cmd/kubelet",
    "cmd/kube-proxy",
    "test/images/agnhost",
];
/// What runs its specs.
const SPECS: &[&str] = &["test/e2e/e2e.test", "vendor/github.com/onsi/ginkgo/ginkgo"];

/// The version that Debian has.
const VERSION: &str = "v1.20.2";

/// Image of the sandboxes, which only hold namespaces.
pub(super) const PAUSE: &str = "localhost/andromede/pause:1";

/// What a shell of the specs calls, all of it busybox.
const APPLETS: &[&str] =
    &["sh", "cat", "echo", "false", "grep", "hostname", "nc", "printf", "seq", "sleep", "true", "wget"];

/// The folder of all that.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Builds what is missing; what runs specs only if they are wanted.
    pub(super) fn fill(with_specs: bool) -> Result<Self> {
        let folder = workspace::root().join("target/kube");
        for part in ["bin", "debs", "root", "home", "images", "apt/lists/partial", "apt/cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let cache = Self { folder };
        let wanted = if with_specs { vec![SERVERS, SPECS] } else { vec![SERVERS] };
        let missing = |targets: &[&'static str]| -> Vec<&'static str> {
            targets.iter().copied().filter(|target| !cache.program(name_of(target)).is_file()).collect()
        };
        let missing: Vec<_> = wanted.into_iter().map(missing).filter(|targets| !targets.is_empty()).collect();
        cache.unpack()?;
        if !missing.is_empty() {
            cache.source()?;
        }
        missing.iter().try_for_each(|targets| cache.build(targets))?;
        cache.images()?;
        Ok(cache)
    }

    /// A program of Kubernetes.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// A program of a package of Debian.
    pub(super) fn debian(&self, name: &str) -> PathBuf {
        self.folder.join("root/usr/bin").join(name)
    }

    /// Archives of the images that every node has.
    pub(super) fn archives(&self) -> [PathBuf; 2] {
        ["pause.tar", "agnhost.tar"].map(|name| self.folder.join("images").join(name))
    }

    /// The image of the specs' pods, under the name by which they ask for it.
    pub(super) fn agnhost(&self) -> Result<String> {
        let list = self.source_folder().join("test/utils/image/manifest.go");
        let text = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
        let line =
            text.lines().find(|line| line.contains("configs[Agnhost]")).context("no image of agnhost is named")?;
        let words: Vec<&str> = line.split('"').collect();
        let [_, name, _, version, ..] = words.as_slice() else { anyhow::bail!("cannot read {line:?}") };
        Ok(format!("k8s.gcr.io/e2e-test-images/{name}:{version}"))
    }

    /// The sources of Kubernetes, where its suite looks for files.
    pub(super) fn source_folder(&self) -> PathBuf {
        self.folder.join("gopath/src/k8s.io/kubernetes")
    }

    /// A command of apt, in a folder.
    fn apt(&self, arguments: &[&str], within: &Path) -> Result<()> {
        let parts = self.folder.join("apt/sources.list.d");
        fs::create_dir_all(&parts)?;
        fs::write(parts.join("debian.sources"), SOURCES)?;
        let mut command = Command::new("apt-get");
        // As root apt would change to its own user, who may not write here.
        command.args(["-q", "-o", "APT::Sandbox::User=root", "-o", "Dir::Etc::SourceList=/dev/null"]);
        for (option, folder) in
            [("Etc::SourceParts", "apt/sources.list.d"), ("State::Lists", "apt/lists"), ("Cache", "apt/cache")]
        {
            command.arg("-o").arg(format!("Dir::{option}={}", self.folder.join(folder).display()));
        }
        workspace::run(command.args(arguments).current_dir(within))
    }

    /// Unpacks the packages, unless they are there.
    fn unpack(&self) -> Result<()> {
        let unpacked = self.folder.join("unpacked-packages");
        if unpacked.is_file() {
            return Ok(());
        }
        say("fetching packages of Debian");
        let debs = self.folder.join("debs");
        self.apt(&["update"], &self.folder)?;
        self.apt(&[&["download"], PACKAGES].concat(), &debs)?;
        for entry in fs::read_dir(&debs)? {
            let package = entry?.path();
            workspace::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(self.folder.join("root")))?;
        }
        fs::write(unpacked, "")?;
        Ok(())
    }

    /// Unpacks the sources, unless they are there.
    fn source(&self) -> Result<()> {
        let to = self.source_folder();
        let unpacked = self.folder.join("unpacked-source");
        if unpacked.is_file() {
            return Ok(());
        }
        say("fetching the source package of Kubernetes");
        let archives = self.folder.join("src");
        fs::create_dir_all(&archives)?;
        self.apt(&["source", "--download-only", "kubernetes"], &archives)?;
        let found = fs::read_dir(&archives)?.filter_map(|entry| Some(entry.ok()?.path()));
        let description = found.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "dsc"));
        let description = description.context("apt-get downloaded no description of a source package")?;
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        fs::create_dir_all(to.parent().unwrap_or(&self.folder))?;
        workspace::run(Command::new("dpkg-source").arg("--extract").arg(description).arg(&to))?;
        // The one that it brings is older than Go 1.18's way to go through maps.
        let newer = self.folder.join("root/usr/share/gocode/src/github.com/modern-go/reflect2");
        let older = to.join("vendor/github.com/modern-go/reflect2");
        replace_sources(&newer, &older)?;
        fs::write(unpacked, "")?;
        Ok(())
    }

    /// Builds parts of Kubernetes.
    fn build(&self, targets: &[&str]) -> Result<()> {
        say(&format!("building {} (minutes)", targets.iter().map(|it| name_of(it)).collect::<Vec<_>>().join(", ")));
        let begin = Instant::now();
        let go = self.folder.join("root/usr/lib/go-1.19");
        let path = format!("{}:{}:{}", go.join("bin").display(), self.debian("").display(), requires::search_path());
        let mut make = Command::new("nice");
        make.args(["make", &format!("WHAT={}", targets.join(" "))]).current_dir(self.source_folder());
        make.env("PATH", path).env("GOROOT", &go).env("GO111MODULE", "off").env("CGO_ENABLED", "0");
        make.env("GOPATH", self.folder.join("gopath")).env("GOCACHE", self.folder.join("gocache"));
        make.env("HOME", self.folder.join("home"));
        make.env("LD_LIBRARY_PATH", self.folder.join("root/usr/lib").join(library_folder()));
        make.env("KUBE_GIT_VERSION", VERSION).env("KUBE_GIT_COMMIT", "debian").env("KUBE_GIT_TREE_STATE", "clean");
        make.env("KUBE_GIT_MAJOR", "1").env("KUBE_GIT_MINOR", "20").env("SOURCE_DATE_EPOCH", "1");
        // Its own scripts take these for theirs.
        make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
        workspace::run(&mut make)?;
        for target in targets {
            let name = name_of(target);
            let built = self.source_folder().join("_output/bin").join(name);
            let half = self.program(&format!("{name}.part"));
            fs::copy(&built, &half).with_context(|| format!("copying {}", built.display()))?;
            fs::rename(half, self.program(name))?;
        }
        say(&format!("built in {:.0} s", begin.elapsed().as_secs_f32()));
        Ok(())
    }

    /// Writes the images, unless they are there.
    fn images(&self) -> Result<()> {
        let [pause, agnhost] = self.archives();
        let sleep = ["/bin/busybox", "sleep", "31536000"];
        self.image(&pause, Image { name: PAUSE, entry: &sleep, path: "/bin", labels: &[] }, false)?;
        let name = self.agnhost()?;
        self.image(&agnhost, Image { name: &name, entry: &["/agnhost"], path: "/bin:/", labels: &[] }, true)
    }

    fn image(&self, archive: &Path, image: Image<'_>, with_agnhost: bool) -> Result<()> {
        if archive.is_file() {
            return Ok(());
        }
        let work = tempfile::tempdir()?;
        let tree = work.path().join("tree");
        for part in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
            fs::create_dir_all(tree.join(part))?;
        }
        let busybox = requires::find_tool("busybox").context("busybox is missing: apt-get install busybox-static")?;
        fs::copy(busybox, tree.join("bin/busybox"))?;
        for applet in APPLETS {
            symlink("busybox", tree.join("bin").join(applet))?;
        }
        if with_agnhost {
            fs::copy(self.program("agnhost"), tree.join("agnhost"))?;
        }
        image.write(&tree, work.path(), archive)
    }
}

/// The name of the program that a target becomes.
fn name_of(target: &str) -> &str {
    target.rsplit('/').next().unwrap_or(target)
}

/// Debian's folder of libraries of this architecture.
const fn library_folder() -> &'static str {
    if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" }
}

/// Puts the sources of one folder in the place of another's.
fn replace_sources(newer: &Path, older: &Path) -> Result<()> {
    let is_source = |path: &Path| path.extension().is_some_and(|kind| kind == "go" || kind == "s");
    for entry in fs::read_dir(older)? {
        let path = entry?.path();
        if is_source(&path) {
            fs::remove_file(path)?;
        }
    }
    let mut copied = 0;
    for entry in fs::read_dir(newer).with_context(|| format!("reading {}", newer.display()))? {
        let path = entry?.path();
        if is_source(&path)
            && let Some(name) = path.file_name()
        {
            fs::copy(&path, older.join(name))?;
            copied += 1;
        }
    }
    ensure!(copied > 0, "{} has no sources", newer.display());
    Ok(())
}
