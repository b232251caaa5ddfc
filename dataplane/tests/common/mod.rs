//! A place for a test: namespaces of its own, a bpf file system of its own. All of it goes with the thread.

#![allow(dead_code, reason = "not every test file uses everything")]

use std::{path::Path, process::Command};

use andromede_abi::{HostConfig, from_bytes};
use andromede_dataplane::Pins;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Runs a test in a thread with its own network and mount namespaces; `bpffs` is mounted at the path it is given.
pub(crate) fn isolated(test: impl FnOnce(&Path) + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("root is needed for namespaces");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let folder = tempfile::tempdir().unwrap();
        mount(Some("bpf"), folder.path(), Some("bpf"), MsFlags::empty(), None::<&str>).unwrap();
        run("ip", "link set lo up");
        test(folder.path());
        nix::mount::umount2(folder.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a command in the namespaces of this thread.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The folder of pins that tests use.
pub(crate) fn pins(bpffs: &Path) -> Pins {
    Pins::new(bpffs, &"test".parse().unwrap())
}

/// A host that has nothing of its own.
pub(crate) fn host() -> HostConfig {
    let zero: HostConfig = from_bytes(&[0; size_of::<HostConfig>()]).unwrap();
    HostConfig {
        host: 1,
        underlay_v4: u32::from_ne_bytes([192, 0, 2, 1]),
        underlay_ifindex: 1,
        overlay_ifindex: 1,
        vxlan_port: 4789_u16.to_be(),
        underlay_mac: [2, 0, 0, 0, 0, 1],
        ..zero
    }
}
