//! Attaching, replacing, repairing and detaching, in both forms.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod common;

use std::{os::unix::process::ExitStatusExt as _, path::Path};

use andromede_dataplane::{
    AttachError, AttachMode, Attachment, Dataplane, Form, Health, Hook, Kernel, LoadError, PinError, Pins, Sizes,
};
use common::{host, isolated, pins, run};

/// The forms that this kernel has.
fn forms() -> Vec<(AttachMode, Form)> {
    let mut forms = vec![(AttachMode::Clsact, Form::Clsact)];
    if Kernel::probe().tcx {
        forms.push((AttachMode::Tcx, Form::Tcx));
    }
    forms
}

fn load(pins: &Pins) -> Dataplane {
    Dataplane::load(Some(pins), &host(), &Sizes::small()).unwrap()
}

fn veth() -> u32 {
    run("ip", "link add name a index 100 type veth peer name b");
    100
}

#[test]
fn attached_stays_when_the_process_goes_and_the_next_takes_over() {
    for (mode, form) in forms() {
        isolated(move |bpffs| {
            let pins = pins(bpffs);
            let ifindex = veth();
            let wanted: Vec<Attachment> =
                Hook::ALL[..2].iter().map(|hook| Attachment { hook: *hook, ifindex, form }).collect();
            let first = load(&pins);
            for attachment in &wanted {
                assert_eq!(first.attach(attachment.hook, ifindex, mode).unwrap(), *attachment);
                assert_eq!(first.verify(*attachment).unwrap(), Health::Attached);
            }
            drop(first);

            let second = load(&pins);
            assert_eq!(pins.attachments().unwrap(), wanted);
            for attachment in &wanted {
                let health = second.verify(*attachment).unwrap();
                assert!(matches!(health, Health::Replaced { .. }), "the first one's program still runs: {health:?}");
                second.attach(attachment.hook, ifindex, mode).unwrap();
                assert_eq!(second.verify(*attachment).unwrap(), Health::Attached);
                attachment.detach(&pins).unwrap();
                assert_eq!(second.verify(*attachment).unwrap(), Health::Missing);
                attachment.detach(&pins).expect("detaching twice is no error");
            }
            assert_eq!(pins.attachments().unwrap(), []);
        });
    }
}

#[test]
fn an_index_that_was_given_to_another_device_is_not_mistaken() {
    for (mode, form) in forms() {
        isolated(move |bpffs| {
            let pins = pins(bpffs);
            let ifindex = veth();
            let attachment = Attachment { hook: Hook::FromWorkload, ifindex, form };
            let dataplane = load(&pins);
            dataplane.attach(attachment.hook, ifindex, mode).unwrap();
            run("ip", "link del dev a");
            assert_eq!(dataplane.verify(attachment).unwrap(), Health::Missing);
            assert_eq!(veth(), ifindex);
            assert_eq!(dataplane.verify(attachment).unwrap(), Health::Missing);
            dataplane.attach(attachment.hook, ifindex, mode).unwrap();
            assert_eq!(dataplane.verify(attachment).unwrap(), Health::Attached);
            run("ip", "link del dev a");
            attachment.detach(&pins).expect("the device is gone, and that is no error");
            assert!(dataplane.attach(attachment.hook, ifindex, mode).is_err(), "there is no such device");
        });
    }
}

#[test]
fn what_somebody_deletes_is_noticed_and_repaired() {
    isolated(|bpffs| {
        let pins = pins(bpffs);
        let ifindex = veth();
        let dataplane = load(&pins);
        let attachment = dataplane.attach(Hook::FromWorkload, ifindex, AttachMode::Clsact).unwrap();
        run("tc", "qdisc del dev a clsact");
        assert_eq!(dataplane.verify(attachment).unwrap(), Health::Missing);
        dataplane.attach(Hook::FromWorkload, ifindex, AttachMode::Clsact).unwrap();
        assert_eq!(dataplane.verify(attachment).unwrap(), Health::Attached);
        run("tc", "filter del dev a ingress");
        assert_eq!(dataplane.verify(attachment).unwrap(), Health::Missing);
        attachment.detach(&pins).unwrap();
    });
}

/// What must hold on a kernel without tcx: whoever asks for it is told so, and what is there stays; who leaves the choice gets a filter.
fn refuses_tcx(dataplane: &Dataplane, there: Attachment) {
    let Attachment { hook, ifindex, .. } = there;
    let error = dataplane.attach(hook, ifindex, AttachMode::Tcx).unwrap_err();
    let AttachError::Os { operation: "attach", form: Form::Tcx, source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.raw_os_error(), Some(libc::EINVAL), "{source}");
    assert_eq!(dataplane.verify(there).unwrap(), Health::Attached);
    assert_eq!(dataplane.attach(hook, ifindex, AttachMode::Auto).unwrap(), there);
}

#[test]
fn a_kernel_without_tcx_is_given_a_filter() {
    isolated(|bpffs| {
        let (ifindex, dataplane) = (veth(), load(&pins(bpffs)));
        let attachment = dataplane.attach(Hook::FromWorkload, ifindex, AttachMode::Auto).unwrap();
        assert_eq!(dataplane.verify(attachment).unwrap(), Health::Attached);
        if Kernel::probe().tcx {
            assert_eq!(attachment.form, Form::Tcx);
            assert_eq!(dataplane.attach(Hook::FromWorkload, ifindex, AttachMode::Tcx).unwrap(), attachment);
        } else {
            assert_eq!(attachment.form, Form::Clsact);
            refuses_tcx(&dataplane, attachment);
        }
    });
}

#[test]
fn whoever_pushes_in_front_is_noticed_and_overtaken() {
    for (mode, form) in forms() {
        isolated(move |bpffs| {
            let (ours, theirs) = (pins(bpffs), Pins::new(bpffs, &"other".parse().unwrap()));
            let ifindex = veth();
            let dataplane = load(&ours);
            let attachment = dataplane.attach(Hook::FromWorkload, ifindex, mode).unwrap();
            assert_eq!(attachment.form, form);
            load(&theirs).attach(Hook::FromWorkload, ifindex, mode).unwrap();
            let health = dataplane.verify(attachment).unwrap();
            match form {
                Form::Tcx => assert_eq!(health, Health::NotFirst),
                // A filter has one fixed place, so there is no front to push to but ours.
                Form::Clsact => assert!(matches!(health, Health::Replaced { .. }), "{health:?}"),
            }
            dataplane.attach(Hook::FromWorkload, ifindex, mode).unwrap();
            assert_eq!(dataplane.verify(attachment).unwrap(), Health::Attached);
        });
    }
}

#[test]
fn who_has_the_priority_of_the_filter_loses_it() {
    isolated(|bpffs| {
        let (ours, theirs) = (pins(bpffs), Pins::new(bpffs, &"other".parse().unwrap()));
        let ifindex = veth();
        // Each lets every packet pass, and none would come to ours.
        let pass = "protocol all u32 match u32 0 0 flowid 1:1";
        run("tc", "qdisc add dev a clsact");
        run("tc", &format!("filter add dev a ingress prio 1 {pass}"));
        run("tc", &format!("filter add dev a ingress prio 2 {pass}"));
        let dataplane = load(&ours);
        let attach = || dataplane.attach(Hook::FromWorkload, ifindex, AttachMode::Clsact).unwrap();
        let attachment = attach();
        assert_eq!(dataplane.verify(attachment).unwrap(), Health::Attached, "one of another kind");

        let elsewhere = load(&theirs).attach(Hook::FromHost, ifindex, AttachMode::Clsact).unwrap();
        let program = theirs.folder().join(format!("filter-{}-{ifindex}", elsewhere.hook));
        run(
            "tc",
            &format!("filter add dev a ingress prio 1 handle 7 protocol all bpf da pinned {}", program.display()),
        );
        assert_eq!(dataplane.verify(attachment).unwrap(), Health::NotFirst);
        assert_eq!(attach(), attachment);
        assert_eq!(dataplane.verify(attachment).unwrap(), Health::Attached, "one of the same kind");
        let left = run("tc", "filter show dev a ingress");
        assert!(left.contains("pref 2 u32"), "who comes after it is left alone: {left}");
    });
}

#[test]
fn the_form_can_be_changed() {
    isolated(|bpffs| {
        let pins = pins(bpffs);
        let ifindex = veth();
        let dataplane = load(&pins);
        let clsact = dataplane.attach(Hook::FromHost, ifindex, AttachMode::Clsact).unwrap();
        assert_eq!(pins.attachments().unwrap(), [clsact]);
        if Kernel::probe().tcx {
            let tcx = dataplane.attach(Hook::FromHost, ifindex, AttachMode::Tcx).unwrap();
            assert_eq!(pins.attachments().unwrap(), [tcx]);
            assert_eq!(dataplane.verify(clsact).unwrap(), Health::Missing);
            dataplane.attach(Hook::FromHost, ifindex, AttachMode::Clsact).unwrap();
            assert_eq!(pins.attachments().unwrap(), [clsact]);
            assert_eq!(dataplane.verify(tcx).unwrap(), Health::Missing);
            dataplane.attach(Hook::FromHost, ifindex, AttachMode::Auto).unwrap();
            assert_eq!(pins.attachments().unwrap(), [tcx]);
            assert_eq!(dataplane.verify(clsact).unwrap(), Health::Missing);
        } else {
            refuses_tcx(&dataplane, clsact);
        }
        dataplane.attach(Hook::FromWorkload, ifindex, AttachMode::Clsact).unwrap();
        let attached = pins.attachments().unwrap();
        assert_eq!(attached.len(), 2);
        pins.tear_down().unwrap();
        for attachment in attached {
            assert_eq!(dataplane.verify(attachment).unwrap(), Health::Missing);
        }
        assert!(pins.is_empty().unwrap() && !pins.folder().exists());
    });
}

/// Tells a process started by `a_killed_process_leaves_all_in_place` that it is the one to be killed, and where its pins are.
const TO_BE_KILLED: &str = "ANDROMEDE_TEST_ATTACH_AND_DIE";

fn attach_and_die(bpffs: &Path) -> ! {
    let dataplane = load(&pins(bpffs));
    dataplane.tables.epochs.set(5, 9).unwrap();
    dataplane.attach(Hook::FromWorkload, 100, AttachMode::Auto).unwrap();
    dataplane.attach(Hook::FromHost, 100, AttachMode::Clsact).unwrap();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    unreachable!("a killed process goes on");
}

#[test]
fn a_killed_process_leaves_all_in_place() {
    if let Some(bpffs) = std::env::var_os(TO_BE_KILLED) {
        attach_and_die(Path::new(&bpffs));
    }
    isolated(|bpffs| {
        let pins = pins(bpffs);
        let ifindex = veth();
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_process_leaves_all_in_place"])
            .env(TO_BE_KILLED, bpffs)
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "it was killed, and not by a failure before: {status}");
        let dataplane = load(&pins);
        assert_eq!(dataplane.tables.epochs.get(5).unwrap(), 9);
        let left = pins.attachments().unwrap();
        assert_eq!(left.len(), 2);
        for attachment in left {
            assert_eq!(attachment.ifindex, ifindex);
            assert!(matches!(dataplane.verify(attachment).unwrap(), Health::Replaced { .. }));
        }
    });
}

#[test]
fn one_process_at_a_time_has_an_instance() {
    isolated(|bpffs| {
        let pins = pins(bpffs);
        let first = load(&pins);
        let error = Dataplane::load(Some(&pins), &host(), &Sizes::small()).unwrap_err();
        assert!(matches!(error, LoadError::Pins(PinError::InUse(_))), "{error}");
        drop(first);
        load(&pins);
    });
}
