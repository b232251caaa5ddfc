//! Runs the inner cargo, and tells the outer one what the object depends on.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::{
    LINKER_MODE, required,
    toolchain::{Llvm, TARGET, Toolchain, command},
};

/// Name of the program, and of the object.
pub(crate) const BINARY: &str = "dataplane";

/// Builds the object and copies it to `out`; says in one line what made it.
pub(crate) fn compile(toolchain: &Toolchain, source: &Path, out: &Path) -> Result<String, String> {
    // One target folder for every profile, for clippy and for coverage: <target>/<profile>/build/<package>/out
    // -> <target>/bpf. The inner cargo locks it.
    let target = out.ancestors().nth(4).unwrap_or(out).join("bpf");
    fs::create_dir_all(&target).map_err(|e| format!("{}: {e}", target.display()))?;
    let (linker, linker_name) = linker(&target)?;

    let mut cargo = command(&toolchain.cargo);
    cargo
        .current_dir(source)
        .args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(&target)
        .env("RUSTC", &toolchain.rustc)
        // Both ways of building for BPF are unstable features of rustc.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&linker)?)
        .env(LINKER_MODE, "1");
    if toolchain.build_core {
        cargo.arg("-Zbuild-std=core");
    }
    if let Some(llvm) = &toolchain.llvm {
        cargo.env("LD_LIBRARY_PATH", library_path(llvm, out)?);
    }
    let output = cargo.output().map_err(|e| format!("{}: {e}", toolchain.cargo.display()))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("the packet programs do not build ({})\n{messages}", toolchain.description));
    }
    for line in messages.lines().filter(|line| line.starts_with("warning")) {
        println!("cargo::warning=bpf: {line}");
    }
    let built = target.join(TARGET).join("release");
    fs::copy(built.join(BINARY), out.join(BINARY)).map_err(|e| format!("{}: {e}", built.display()))?;
    track(source, &built)?;
    Ok(format!("{}; {linker_name}", toolchain.description))
}

/// The linker, and its name. Its path is part of the flags and so of every fingerprint: it must not change.
fn linker(target: &Path) -> Result<(PathBuf, &'static str), String> {
    if let Some(linker) = env::var_os("BPF_LINKER") {
        return Ok((linker.into(), "linker of BPF_LINKER"));
    }
    if !cfg!(feature = "linker") {
        return Ok(("bpf-linker".into(), "bpf-linker of the system"));
    }
    let copy = target.join("linker");
    let fresh = target.join(format!("linker.{}", std::process::id()));
    env::current_exe()
        .and_then(|this| fs::copy(this, &fresh))
        .and_then(|_| fs::rename(&fresh, &copy))
        .map_err(|e| format!("{}: {e}", copy.display()))?;
    Ok((copy, "bpf-linker 0.10.3, built in"))
}

/// Flags for the inner rustc, in the form of `CARGO_ENCODED_RUSTFLAGS`.
fn flags(linker: &Path) -> Result<OsString, String> {
    let machine = required("CARGO_CFG_TARGET_ARCH")?;
    let mut flags = OsString::from(format!("--cfg=bpf_target_arch=\"{machine}\""));
    for flag in [
        // The types of maps and functions become BTF.
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // The oldest kernel refuses v4.
        "-Ctarget-cpu=v3",
        // Without this every field of a packet is read byte by byte; x86-64 and arm64 need not.
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
        // Without this memset and memcpy become calls of byte loops, for 32 bytes already.
        "-Clink-arg=--disable-expand-memcpy-in-order",
    ] {
        flags.push("\x1f");
        flags.push(flag);
    }
    flags.push("\x1f-Clinker=");
    flags.push(linker);
    Ok(flags)
}

/// bpf-linker takes the first `libLLVM*` that it finds in these folders: give it one with exactly one.
fn library_path(llvm: &Llvm, out: &Path) -> Result<OsString, String> {
    let folder = out.join("llvm");
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    std::os::unix::fs::symlink(&llvm.library, folder.join("libLLVM.so")).map_err(failed)?;
    let mut path = folder.into_os_string();
    if let Some(own) = llvm.library.parent().filter(|_| llvm.private) {
        // rustc finds the libraries of its own toolchain without this; its children may not.
        path.push(":");
        path.push(own);
    }
    Ok(path)
}

/// Rebuilds exactly when a source of the object changes: rustc's list names them all, those of path dependencies
/// too; the manifests stand beside them.
fn track(source: &Path, built: &Path) -> Result<(), String> {
    let list = built.join(format!("{BINARY}.d"));
    let list = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let mut tracked: BTreeSet<PathBuf> = [source.join("Cargo.toml"), source.join("Cargo.lock")].into();
    let files = list.split_once(": ").map_or("", |(_, files)| files).replace("\\ ", "\u{1}");
    for file in files.split_whitespace() {
        let file = PathBuf::from(file.replace('\u{1}', " "));
        tracked.extend(file.ancestors().map(|folder| folder.join("Cargo.toml")).find(|manifest| manifest.is_file()));
        tracked.insert(file);
    }
    for file in tracked {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    Ok(())
}
