//! What this kernel and this process can do.

use std::{fs, io, os::fd::AsFd, path::Path};

use andromede_abi::feature;
use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use crate::sys::{self, SkBuff, TcxDirection};

/// Oldest kernel that is tested: major and minor.
const OLDEST: (u32, u32) = (6, 1);

// include/uapi/linux/capability.h
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is the answer to one question")]
pub struct Kernel {
    /// Release, as `uname -r` says it.
    pub release: String,
    /// The kernel describes its types (`CONFIG_DEBUG_INFO_BTF`).
    pub btf: bool,
    /// This process may load programs.
    pub may_load: bool,
    /// This process may attach programs to devices and make devices.
    pub may_configure: bool,
    /// tcx links (Linux 6.6).
    pub tcx: bool,
    /// `bpf_skb_adjust_room` takes `BPF_F_ADJ_ROOM_DECAP_L3_IPV6` (Linux 6.3).
    pub decap_l3: bool,
}

impl Kernel {
    /// Asks by trying, not by the version: distributions carry features back.
    pub fn probe() -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let capabilities = effective_capabilities().unwrap_or(0);
        let has = |capability: u32| (capabilities >> capability) & 1 == 1;
        Self {
            release,
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            may_load: has(CAP_BPF) || has(CAP_SYS_ADMIN),
            may_configure: has(CAP_NET_ADMIN),
            // Every network namespace has its loopback device at index 1.
            tcx: sys::tcx_query(1, TcxDirection::Ingress).is_ok(),
            decap_l3: decap_l3().unwrap_or(false),
        }
    }

    /// The bits of `HostConfig::features` that this kernel gives.
    pub const fn features(&self) -> u32 {
        if self.decap_l3 { feature::DECAP_L3 } else { 0 }
    }

    /// What the packet path needs and does not find here, each in a sentence that says what to do.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if version(&self.release).is_some_and(|version| version < OLDEST) {
            missing.push(format!("Linux {} is too old: 6.1 or later is needed.", self.release));
        }
        if !self.btf {
            missing.push("The kernel has no /sys/kernel/btf/vmlinux: one with CONFIG_DEBUG_INFO_BTF is needed.".into());
        }
        if !self.may_load {
            missing.push("This process may not load programs: run it as root, or with CAP_BPF.".into());
        }
        if !self.may_configure {
            missing.push("This process may not configure the network: run it as root, or with CAP_NET_ADMIN.".into());
        }
        missing
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// `CapEff` of this thread.
fn effective_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Tries it on a frame. A kernel that does not know the flag loads the program all the same and refuses when it runs.
fn decap_l3() -> io::Result<bool> {
    const ADJUST_ROOM: i32 = 50;
    const ADJ_ROOM_MAC: i32 = 1;
    const DECAP_L3_IPV6: i32 = 1 << 8;
    // return bpf_skb_adjust_room(context, -50, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_DECAP_L3_IPV6)
    let program = sys::program_load(&[
        sys::instruction(sys::SET, 2, -50),
        sys::instruction(sys::SET, 3, ADJ_ROOM_MAC),
        sys::instruction(sys::SET, 4, DECAP_L3_IPV6),
        sys::instruction(sys::CALL, 0, ADJUST_ROOM),
        sys::instruction(sys::EXIT, 0, 0),
    ])?;
    let mut frame = [0_u8; 200];
    // Ethernet with IPv4 in it, and a header without options.
    for (place, byte) in [(12, 8), (14, 0x45), (17, 186)] {
        if let Some(target) = frame.get_mut(place) {
            *target = byte;
        }
    }
    let mut output = [0_u8; 256];
    let run = sys::program_test_run(program.as_fd(), &frame, &SkBuff::default(), &mut output, 1)?;
    Ok(run.retval == 0)
}

/// Makes sure that a bpf file system is mounted there; says whether it had to be mounted.
pub fn mount_bpffs(path: &Path) -> io::Result<bool> {
    fs::create_dir_all(path)?;
    if statfs(path)?.filesystem_type() == BPF_FS_MAGIC {
        return Ok(false);
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), path, Some("bpf"), flags, Some("mode=0700"))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_in_words() {
        let kernel = Kernel {
            release: "6.1.0-56-cloud-amd64".into(),
            btf: true,
            may_load: true,
            may_configure: true,
            tcx: false,
            decap_l3: false,
        };
        assert_eq!(kernel.missing(), Vec::<String>::new());
        let old = Kernel { release: "5.10.0-1".into(), btf: false, may_load: false, may_configure: false, ..kernel };
        assert_eq!(old.missing().len(), 4);
        assert!(old.missing().first().is_some_and(|text| text.contains("5.10.0-1")));
    }
}
