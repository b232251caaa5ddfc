//! Finds a cargo and a rustc that can build for BPF.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Only these reach the inner cargo: all that the outer cargo exports (`RUSTC`, `RUSTFLAGS`, `CARGO_*`, wrappers,
/// `LD_LIBRARY_PATH`) is about the outer build.
const PASSED_ON: &[&str] = &[
    "HOME",
    "USER",
    "PATH",
    "TMPDIR",
    "LANG",
    "TERM",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_DIST_SERVER",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CARGO_NET_OFFLINE",
    "CARGO_MAKEFLAGS",
    "MAKEFLAGS",
];

const NONE_FOUND: &str = "no toolchain on this machine can build for BPF. Install one of these, and build again:\n\
     Debian 12: apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf\n\
     elsewhere: rustup toolchain install nightly --component rust-src";

/// The triple of BPF programs.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// A cargo and a rustc that can build for BPF.
pub(crate) struct Toolchain {
    /// Which one it is, in words.
    pub(crate) description: String,
    pub(crate) cargo: PathBuf,
    pub(crate) rustc: PathBuf,
    /// There is no `core` for BPF: build it from the sources.
    pub(crate) build_core: bool,
    /// The LLVM that this rustc itself is linked with, and that must therefore link what it makes.
    pub(crate) llvm: Option<Llvm>,
}

/// A shared library.
pub(crate) struct Llvm {
    pub(crate) library: PathBuf,
    /// It belongs to the toolchain, not to the system.
    pub(crate) private: bool,
}

/// A command that sees nothing of the outer build.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command.envs(PASSED_ON.iter().filter_map(|variable| Some((*variable, env::var_os(variable)?))));
    command
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The toolchain that was asked for, or the first that can do it: that of the distribution, the nightly of rustup,
/// the one that runs this build.
pub(crate) fn choose() -> Result<Toolchain, String> {
    if let Some(rustc) = env::var_os("BPF_RUSTC") {
        let cargo = env::var_os("BPF_CARGO").unwrap_or_else(|| "cargo".into());
        return probe(cargo.into(), rustc.into(), "BPF_RUSTC")
            .ok_or_else(|| format!("BPF_RUSTC has neither a core for BPF nor the sources of one.\n{NONE_FOUND}"));
    }
    if let Ok(name) = env::var("BPF_TOOLCHAIN") {
        return rustup(&name)
            .and_then(|(cargo, rustc)| probe(cargo, rustc, &format!("rustup {name}")))
            .ok_or_else(|| format!("BPF_TOOLCHAIN {name} is not there, or has no rust-src.\n{NONE_FOUND}"));
    }
    let distribution = || probe("/usr/bin/cargo".into(), "/usr/bin/rustc".into(), "distribution");
    let nightly = || rustup("nightly").and_then(|(cargo, rustc)| probe(cargo, rustc, "rustup nightly"));
    let this = || probe(env::var_os("CARGO")?.into(), env::var_os("RUSTC")?.into(), "this toolchain");
    distribution().or_else(nightly).or_else(this).ok_or_else(|| NONE_FOUND.into())
}

/// Where rustup has a toolchain. `rustup which` installs nothing; it fails if the toolchain is absent.
fn rustup(toolchain: &str) -> Option<(PathBuf, PathBuf)> {
    let which = |tool| output(command("rustup").args(["which", "--toolchain", toolchain, tool])).map(PathBuf::from);
    Some((which("cargo")?, which("rustc")?))
}

/// What a pair of cargo and rustc can do for BPF; nothing if it can do nothing.
fn probe(cargo: PathBuf, rustc: PathBuf, origin: &str) -> Option<Toolchain> {
    let version = output(command(&rustc).arg("-vV"))?;
    output(command(&cargo).arg("-V").env("RUSTC", &rustc))?;
    let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name)).map_or("?", str::trim);
    let sysroot = PathBuf::from(output(command(&rustc).args(["--print", "sysroot"]))?);
    let libraries = sysroot.join("lib");
    let compiled =
        files(&libraries.join("rustlib").join(TARGET).join("lib")).iter().any(|file| starts(file, "libcore-"));
    if !compiled && !libraries.join("rustlib/src/rust/library/core/src/lib.rs").is_file() {
        return None;
    }
    let core = if compiled { "precompiled core" } else { "core from its sources" };
    let (release, llvm) = (field("release:"), field("LLVM version:"));
    Some(Toolchain {
        description: format!("{origin}: rustc {release}, LLVM {llvm}, {core}"),
        llvm: find_llvm(&rustc, &libraries),
        build_core: !compiled,
        cargo,
        rustc,
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn starts(file: &Path, prefix: &str) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
}

/// The LLVM in the toolchain, or the one that the dynamic loader would give to this rustc.
fn find_llvm(rustc: &Path, libraries: &Path) -> Option<Llvm> {
    let own = files(libraries).into_iter().filter(|file| starts(file, "libLLVM")).max();
    if let Some(library) = own {
        return Some(Llvm { library, private: true });
    }
    let needed = output(command("ldd").arg(rustc))?;
    let line = needed.lines().find(|line| line.contains("libLLVM"))?;
    let library = line.split("=>").nth(1)?.split_whitespace().next()?;
    Some(Llvm { library: library.into(), private: false })
}
