//! What a test needs of the machine. Nothing is skipped in silence: what is missing is an error that names it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

/// Debian's package for a tool that tests run.
const TOOLS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ss", "iproute2"),
    ("ethtool", "ethtool"),
    ("tshark", "tshark"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("podman", "podman"),
    ("conmon", "conmon"),
    ("busybox", "busybox-static"),
];

/// Folders of tools that are not always on a user's path.
const SBIN: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// Where programs are looked for: the path of this process, and the folders that root's may lack.
pub fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    std::iter::once(path.as_str()).chain(SBIN).collect::<Vec<_>>().join(":")
}

/// Is this program on the path?
pub fn has_tool(name: &str) -> bool {
    find_tool(name).is_some()
}

/// Where on the path this program is.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    search_path().split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// Everything that tests in namespaces need and this machine lacks, in words.
pub fn missing(tools: &[&str]) -> Vec<String> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push("root: namespaces, packet sockets and eBPF need it; run as root".to_owned());
        return missing;
    }
    for tool in tools {
        if !has_tool(tool) {
            let package = TOOLS.iter().find(|(name, _)| name == tool).map_or(*tool, |(_, package)| package);
            missing.push(format!("the tool {tool}: apt-get install {package}"));
        }
    }
    if tools.contains(&"runc") && !has_cgroups() {
        let how = "systemd mounts one, or: mount -t cgroup2 none /sys/fs/cgroup";
        missing.push(format!("a cgroup hierarchy, into which runc puts containers: {how}"));
    }
    if !Path::new("/proc/self/ns/net").exists() {
        missing.push("network namespaces: a kernel with CONFIG_NET_NS".to_owned());
    }
    if !has_filesystem("bpf") {
        missing.push("bpffs: a kernel with CONFIG_BPF_SYSCALL".to_owned());
    }
    if has_tool("ip") {
        missing.extend(missing_links());
    }
    missing
}

/// Fails with everything that is missing.
pub fn require(tools: &[&str]) -> Result<()> {
    let missing = missing(tools);
    if !missing.is_empty() {
        bail!("this machine lacks:\n  - {}", missing.join("\n  - "));
    }
    Ok(())
}

/// Is a hierarchy of cgroups mounted, of either version?
fn has_cgroups() -> bool {
    let mounted = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounted.lines().any(|line| line.split_whitespace().nth(2).is_some_and(|kind| kind.starts_with("cgroup")))
}

fn has_filesystem(name: &str) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.split_whitespace().last() == Some(name))
}

/// How to make an interface of each kind that tests need.
const KINDS: [(&str, &str); 3] = [
    ("veth", "link add probe0 type veth"),
    ("bridge", "link add probe1 type bridge"),
    ("vxlan", "link add probe2 type vxlan external"),
];

/// Tries to make one of each kind in a namespace that is then forgotten.
fn missing_links() -> Vec<String> {
    let namespace = match crate::Namespace::new() {
        Ok(namespace) => namespace,
        Err(error) => return vec![format!("network namespaces: {error:#}")],
    };
    if namespace.ip_batch(&KINDS.map(|(_, line)| line)).is_ok() {
        return Vec::new();
    }
    let refused = |(kind, line): (&str, &str)| {
        let error = crate::Namespace::new().and_then(|namespace| namespace.ip(line)).err()?;
        Some(format!("interfaces of type {kind} (CONFIG_{}): {error:#}", kind.to_uppercase()))
    };
    KINDS.into_iter().filter_map(refused).collect()
}

/// Output of `uname -r`.
pub fn kernel_release() -> String {
    let output = Command::new("uname").arg("-r").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
