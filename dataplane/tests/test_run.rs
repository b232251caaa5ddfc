//! Test runs and probes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod common;

use andromede_dataplane::{Dataplane, FrameContext, Hook, Kernel, Sizes, TestRunError, mount_bpffs};
use common::{host, isolated, run};

fn frame() -> Vec<u8> {
    let mut frame = vec![0; 100];
    frame[12] = 8;
    frame[14] = 0x45;
    frame
}

#[test]
fn every_program_runs_on_a_frame() {
    isolated(|_| {
        run("ip", "link add name a index 100 type veth peer name b");
        let dataplane = Dataplane::load(None, &host(), &Sizes::small()).unwrap();
        let bench = dataplane.test_bench().unwrap();
        for hook in Hook::ALL {
            let context = FrameContext { ifindex: 100, ..FrameContext::default() };
            let outcome = bench.run(hook, &frame(), context).unwrap();
            assert_eq!(outcome.frame.len(), 100, "{hook}");
            assert_eq!(outcome.verdict, None, "without `feature::RECORD` nothing is recorded");
        }
        let nowhere = FrameContext { ifindex: 200, ..FrameContext::default() };
        let error = bench.run(Hook::FromWorkload, &frame(), nowhere).unwrap_err();
        assert!(matches!(error, TestRunError::Refused { ifindex: 200, .. }), "{error}");
        assert!(bench.run(Hook::FromWorkload, &frame()[..10], FrameContext::default()).is_err());
    });
}

#[test]
fn this_kernel_has_what_is_needed() {
    isolated(|bpffs| {
        let kernel = Kernel::probe();
        assert_eq!(kernel.missing(), Vec::<String>::new(), "{kernel:?}");
        assert!(!mount_bpffs(bpffs).unwrap(), "it is mounted already");
        let folder = tempfile::tempdir().unwrap();
        assert!(mount_bpffs(folder.path()).unwrap());
        assert!(!mount_bpffs(folder.path()).unwrap());
        nix::mount::umount(folder.path()).unwrap();
        println!("{kernel:?}");
    });
}
