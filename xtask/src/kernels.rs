//! `./x kernels`: the real programs and tests on Debian 12's own kernel 6.1, in a virtual machine without acceleration.
//!
//! What `cargo test` has built is packed into a root file system in memory, with the libraries and tools it needs;
//! nothing is compiled anew. The machine ends by itself; its verdict is a line that it prints.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::workspace;

/// Debian's package whose newest version names the kernel's.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// What the release of that kernel must begin with.
const RELEASE: &str = "6.1.";

/// Kernel modules that the fabric and its tests use; what they depend on comes along.
const MODULES: &[&str] = &["veth", "bridge", "vxlan", "sch_ingress", "cls_bpf"];

/// Those that more tests use, and the agent.
const MORE_MODULES: &[&str] = &["cls_matchall", "act_gact", "ip_gre", "ip6_gre", "cls_u32"];

/// Tools that the tests run.
const TOOLS: &[&str] = &["ip", "tc", "ss", "ethtool"];

/// The project's programs, for the tests that start them: the quick part does without, and unpacking them takes seconds.
const PROGRAMS: &[&str] = &["andromede-controller", "andromede-agent", "andromedectl"];

/// Test programs and the tests of each that run: a package, a target, and names as libtest filters them; none is all.
const QUICK: &[(&str, &str, &[&str])] = &[("andromede-tests", "smoke", &[])];

/// The same, with `--full`.
const FULL: &[(&str, &str, &[&str])] = &[
    ("andromede-tests", "smoke", &[]),
    ("andromede-dataplane", "load", &[]),
    ("andromede-dataplane", "attach", &[]),
    ("andromede-tests", "isolation", &["only_members_of_a_network_may_send_into_it"]),
    ("andromede-tests", "firewall", &["a_rule_change_cuts_live_connections_at_the_next_packet"]),
    ("andromede-tests", "nested", &["a_workloads_own_tunnels_are_carried"]),
];

/// How long the machine may take.
const LIMIT: Duration = Duration::from_mins(30);

/// What the machine prints last if every test passed.
const VERDICT: &str = "kernels: all passed";

/// Options of `./x kernels`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run more tests; takes minutes instead of seconds.
    #[arg(long)]
    full: bool,
}

/// Runs tests on kernel 6.1.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let folder = workspace::root().join("target/kernels");
    fs::create_dir_all(&folder)?;
    let kernel = Kernel::fetch(&folder)?;
    println!("kernels: {} (cached in {})", kernel.release, folder.display());
    let part = if arguments.full {
        Part { tests: FULL, programs: PROGRAMS, modules: [MODULES, MORE_MODULES].concat() }
    } else {
        Part { tests: QUICK, programs: &[], modules: MODULES.to_vec() }
    };
    let executables = build_tests()?;
    let root = folder.join("root");
    let image = folder.join("initrd.cpio");
    pack(&root, &kernel, &part, &executables)?;
    archive(&root, &image)?;
    let begin = Instant::now();
    boot(&kernel, &image)?;
    println!("kernels: {} passed in {:.1} s", kernel.release, begin.elapsed().as_secs_f32());
    Ok(())
}

/// What runs there, and what it needs.
struct Part {
    tests: &'static [(&'static str, &'static str, &'static [&'static str])],
    programs: &'static [&'static str],
    modules: Vec<&'static str>,
}

/// A kernel that was unpacked.
struct Kernel {
    release: String,
    folder: PathBuf,
}

impl Kernel {
    /// Downloads and unpacks it, unless that was done before.
    fn fetch(folder: &Path) -> Result<Self> {
        if let Some(kernel) = Self::unpacked(folder)? {
            return Ok(kernel);
        }
        let release = newest_release().or_else(|_| {
            // A fresh machine may never have asked for the lists of packages.
            workspace::run(&mut workspace::command("apt-get", &["update"]))?;
            newest_release()
        })?;
        ensure!(release.starts_with(RELEASE), "the newest kernel is {release}; this wants Debian 12's {RELEASE}x");
        let mut download = Command::new("apt-get");
        // As root apt would change to its own user, who may not write here.
        download.args(["-o", "APT::Sandbox::User=root", "download", &format!("linux-image-{release}")]);
        workspace::run(download.current_dir(folder))?;
        let archive = entries(folder)?
            .into_iter()
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .context("apt-get downloaded nothing")?;
        let unpacked = folder.join(format!("linux-{release}"));
        workspace::run(Command::new("dpkg").arg("-x").arg(&archive).arg(&unpacked))?;
        fs::remove_file(archive)?;
        Self::unpacked(folder)?.context("the package holds no kernel")
    }

    fn unpacked(folder: &Path) -> Result<Option<Self>> {
        for path in entries(folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(release) = name.strip_prefix("linux-")
                && path.join(format!("boot/vmlinuz-{release}")).is_file()
            {
                return Ok(Some(Self { release: release.to_owned(), folder: path.clone() }));
            }
        }
        Ok(None)
    }

    /// The kernel without its compression, which the emulated machine would take longer to undo. The header that tells where it lies is
    /// that of the kernel's `Documentation/x86/boot.rst`.
    fn image(&self) -> Result<PathBuf> {
        let image = self.folder.join(format!("boot/vmlinux-{}", self.release));
        if !image.is_file() {
            let packed = fs::read(self.folder.join(format!("boot/vmlinuz-{}", self.release)))?;
            let word =
                |at: usize| packed.get(at..at + 4).and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)));
            let (Some(setup), Some(offset), Some(length)) = (packed.get(0x1f1), word(0x248), word(0x24c)) else {
                bail!("the kernel's image has no header");
            };
            let begin = (usize::from(*setup) + 1) * 512 + offset as usize;
            // Behind what is packed stands its size.
            let payload = packed.get(begin..begin + (length as usize).saturating_sub(4));
            let part = image.with_extension("part");
            let mut unpack = Command::new(find("lz4")?);
            let mut unpack =
                unpack.args(["-d", "-c"]).stdin(Stdio::piped()).stdout(fs::File::create(&part)?).spawn()?;
            unpack
                .stdin
                .take()
                .context("lz4 reads nothing")?
                .write_all(payload.context("the kernel's image is cut short")?)?;
            let status = unpack.wait()?;
            ensure!(status.success(), "unpacking the kernel failed: {status}");
            fs::rename(part, &image)?;
        }
        Ok(image)
    }

    /// The files of the wanted modules and of all that they depend on, relative to the folder of modules.
    fn modules(&self, names: &[&str]) -> Result<BTreeSet<String>> {
        let folder = self.folder.join("lib/modules").join(&self.release);
        if !folder.join("modules.dep").is_file() {
            workspace::run(Command::new(find("depmod")?).arg("-b").arg(&self.folder).arg(&self.release))?;
        }
        let listed = fs::read_to_string(folder.join("modules.dep")).context("reading the modules' dependencies")?;
        let mut files = BTreeSet::new();
        for module in names {
            let wanted = format!("/{module}.ko:");
            // A module that is built in has no file.
            let Some(line) = listed.lines().find(|line| line.contains(&wanted)) else { continue };
            files.extend(line.replace(':', "").split_whitespace().map(str::to_owned));
        }
        Ok(files)
    }
}

/// The release of the kernel that the package of this name leads to.
fn newest_release() -> Result<String> {
    let depends = workspace::output(&mut workspace::command("apt-cache", &["depends", META_PACKAGE]))
        .context("asking which kernel Debian has (this needs Debian 12)")?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    Ok(package.with_context(|| format!("{META_PACKAGE} depends on no kernel"))?.to_owned())
}

/// A test program: package, target, file.
struct Executable {
    package: String,
    target: String,
    file: PathBuf,
}

/// Builds all programs and tests as `./x test` does, and tells where the test programs are.
fn build_tests() -> Result<Vec<Executable>> {
    workspace::run(&mut workspace::cargo(&["build", "--workspace", "--all-targets", "--locked"]))?;
    let arguments = ["test", "--workspace", "--locked", "--no-run", "--message-format=json"];
    let text = workspace::output(&mut workspace::cargo(&arguments))?;
    let mut executables = Vec::new();
    for message in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let text = |path: &str| message.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let is_test = message.pointer("/profile/test").and_then(Value::as_bool) == Some(true);
        if let (true, Some(file), Some(target), Some(manifest)) =
            (is_test, text("/executable"), text("/target/name"), text("/manifest_path"))
        {
            let folder = Path::new(&manifest).parent().and_then(Path::file_name).unwrap_or_default();
            let package = format!("andromede-{}", folder.to_string_lossy());
            executables.push(Executable { package, target, file: file.into() });
        }
    }
    Ok(executables)
}

/// Lays out the root file system.
fn pack(root: &Path, kernel: &Kernel, part: &Part, built: &[Executable]) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root)?;
    }
    for folder in ["bin", "dev", "proc", "sys", "tmp", "run", "a/deps"] {
        fs::create_dir_all(root.join(folder))?;
    }
    copy_program(root, &find("busybox")?, "bin/busybox")?;
    std::os::unix::fs::symlink("busybox", root.join("bin/sh"))?;
    for tool in TOOLS {
        copy_program(root, &find(tool)?, &format!("bin/{tool}"))?;
    }
    for program in part.programs {
        let built = workspace::root().join("target/debug").join(program);
        copy_program(root, &built, &format!("a/{program}"))?;
    }
    let mut commands = String::new();
    for (package, target, names) in part.tests {
        let executable = built.iter().find(|executable| executable.package == *package && executable.target == *target);
        let executable = executable.with_context(|| format!("{package} has no tests named {target}"))?;
        copy_program(root, &executable.file, &format!("a/deps/{target}"))?;
        commands += &["/a/deps/", target, " --test-threads 2 ", &names.join(" "), " || failed=1\n"].concat();
    }
    copy_modules(root, kernel, &part.modules)?;
    let init = root.join("init");
    fs::write(
        &init,
        INIT.replace("@TESTS@", &commands).replace("@MODULES@", &part.modules.join(" ")).replace("@VERDICT@", VERDICT),
    )?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The first process of the machine. It has no use for the exit status of the machine: the verdict is a line. The kernel's types are hidden:
/// aya reads them whenever it loads an object, a second of this processor's time, and no program of ours refers to one.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t tmpfs tmp /tmp
/bin/busybox mount -t tmpfs run /run
/bin/busybox mkdir -p /sys/fs/bpf /etc
/bin/busybox mount -t bpf bpf /sys/fs/bpf
/bin/busybox mount -t tmpfs none /sys/kernel/btf
/bin/busybox modprobe -a @MODULES@ 2>/dev/null
/bin/ip link set lo up
export PATH=/bin TMPDIR=/tmp RUST_BACKTRACE=0 ANDROMEDE_BIN=/a ANDROMEDE_PATIENCE=6
echo "kernels: running on $(/bin/busybox uname -r)"
failed=0
@TESTS@
[ $failed = 0 ] && echo "@VERDICT@"
/bin/busybox reboot -f
"#;

fn copy_modules(root: &Path, kernel: &Kernel, modules: &[&str]) -> Result<()> {
    let (from, to) = (kernel.folder.join("lib/modules"), root.join("lib/modules"));
    let (from, to) = (from.join(&kernel.release), to.join(&kernel.release));
    for file in kernel.modules(modules)? {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap_or(&to))?;
        // Without the signature and the types, which the emulated machine would take long to check.
        let mut strip = Command::new("strip");
        workspace::run(strip.args(["--strip-debug", "-R", ".BTF", "-o"]).arg(target).arg(from.join(&file)))?;
    }
    for list in ["modules.order", "modules.builtin"] {
        fs::copy(from.join(list), to.join(list)).with_context(|| format!("copying {list}"))?;
    }
    workspace::run(Command::new(find("depmod")?).arg("-b").arg(root).arg(&kernel.release))
}

/// Copies a program without its debugging information, and the libraries that it is linked to.
fn copy_program(root: &Path, program: &Path, name: &str) -> Result<()> {
    let target = root.join(name);
    let stripped = Command::new("strip").arg("-o").arg(&target).arg(program).stderr(Stdio::null()).status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(program, &target).with_context(|| format!("copying {}", program.display()))?;
    }
    // A static program is not a failure: it has none.
    let listed = Command::new("ldd").arg(program).output().context("starting ldd")?;
    for word in String::from_utf8_lossy(&listed.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        let library = root.join(word.trim_start_matches('/'));
        if Path::new(word).is_file() && !library.exists() {
            fs::create_dir_all(library.parent().unwrap_or(root))?;
            fs::copy(word, &library).with_context(|| format!("copying {word}"))?;
        }
    }
    Ok(())
}

/// Packs the root file system, and does not compress it: the emulated machine would take longer to unpack it than this one to read it.
fn archive(root: &Path, image: &Path) -> Result<()> {
    let script = "find . | cpio -o -H newc --quiet";
    let file = fs::File::create(image)?;
    let status = Command::new("sh").args(["-c", script]).current_dir(root).stdout(file).status()?;
    ensure!(status.success(), "packing the root file system failed: {status}");
    Ok(())
}

/// What the kernel is told: to do nothing that takes time and is not what is tested. Mitigations against speculation cost an emulated
/// processor much, which does not speculate; so does hardening: memory that is cleared when it is given out, addresses by chance, and the kernel's own text that is guarded.
/// Its clock is what it is, without comparing it with others; and two things that the kernel would make ready, the names of all its
/// functions for kprobes and a self-test of key derivation, nobody here asks for.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off cryptomgr.notests random.trust_cpu=on \
                            init_on_alloc=0 nokaslr randomize_kstack_offset=off rodata=off tsc=reliable \
                            no_timer_check initcall_blacklist=init_kprobe_trace,crypto_kdf108_init";

/// Boots the machine and shows what it prints.
fn boot(kernel: &Kernel, image: &Path) -> Result<()> {
    let mut machine = Command::new("timeout");
    machine.arg(LIMIT.as_secs().to_string()).arg(find("qemu-system-x86_64")?);
    // A plain processor: wide registers and five levels of pages are slow to emulate.
    machine.args(["-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-smp", "2", "-m", "1024", "-nodefaults"]);
    machine.args(["-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]);
    machine.arg("-kernel").arg(kernel.image()?).arg("-initrd").arg(image);
    machine.args(["-append", COMMAND_LINE]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = machine.spawn().context("starting qemu-system-x86_64")?;
    let mut passed = false;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
            println!("{line}");
            passed |= line == VERDICT;
        }
    }
    child.wait()?;
    ensure!(passed, "tests failed on kernel {}", kernel.release);
    Ok(())
}

/// Where a tool is.
fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    let Some(found) = folders.map(|folder| Path::new(folder).join(name)).find(|file| file.is_file()) else {
        bail!("{name} is not on this machine: ./x kernels installs it on Debian");
    };
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    read.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_that_run_there_exist() {
        for (package, target, names) in QUICK.iter().chain(FULL) {
            let folder = package.trim_start_matches("andromede-");
            let file = workspace::root().join(folder).join("tests").join(format!("{target}.rs"));
            let text = fs::read_to_string(&file).unwrap_or_default();
            assert!(text.contains("#[test]"), "{} has no tests", file.display());
            for name in *names {
                assert!(text.contains(&format!("fn {name}()")), "{} has no test {name}", file.display());
            }
        }
    }

    #[test]
    fn the_first_process_leaves_no_placeholder() {
        let filled = INIT.replace("@TESTS@", "").replace("@MODULES@", "").replace("@VERDICT@", "");
        assert!(!filled.contains('@'), "{filled}");
        assert!(filled.starts_with("#!/bin/busybox sh\n"), "the kernel reads the first line");
    }
}
