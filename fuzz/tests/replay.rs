//! Replays every kept input, and a stream of random ones, by the functions that the fuzz targets run.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, fs, path::Path};

use andromede_abi::DropReason;
use andromede_fuzz::{Passed, Reached};

fn replay(target: &str, run: fn(&[u8]) -> Reached) -> Reached {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let (mut replayed, mut reached) = (0, Reached::default());
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        reached = reached.and(run(&fs::read(path).unwrap()));
        replayed += 1;
    }
    assert!(replayed > 0, "{} holds no input", folder.display());
    println!("{replayed} inputs of {target} reach {reached:?}");
    reached
}

/// What some of the kept inputs must be dropped for, or they do not get where the code is that they are for.
fn reaches(reached: &Reached, reasons: &[DropReason]) {
    for reason in reasons {
        assert!(reached.reasons.contains(reason), "no input is dropped for {}", reason.name());
    }
}

#[test]
fn every_kept_input_of_parse() {
    let reached = replay("parse", andromede_fuzz::parse);
    let reasons = [
        DropReason::Truncated,
        DropReason::BadTransport,
        DropReason::BadFragment,
        DropReason::TinyFragment,
        DropReason::HeaderFragment,
        DropReason::FragmentTooLong,
        DropReason::FragmentedControl,
        DropReason::ExtensionHeaders,
        DropReason::BadIcmpError,
        DropReason::UnrelatedIcmpError,
        DropReason::OuterFragment,
        DropReason::TooBig,
    ];
    reaches(&reached, &reasons);
}

#[test]
fn every_kept_input_of_walk() {
    let reached = replay("walk", andromede_fuzz::walk);
    let reasons = [
        DropReason::Fragment,
        DropReason::FragmentOverlap,
        DropReason::TinyFragment,
        DropReason::BadIcmpError,
        DropReason::UnrelatedIcmpError,
        DropReason::ConnectionCut,
        DropReason::NotAnswered,
        DropReason::NetworkChanging,
    ];
    reaches(&reached, &reasons);
    let all = [Passed::Whole, Passed::First, Passed::Later, Passed::Early, Passed::Error];
    assert_eq!(reached.passed, BTreeSet::from(all));
}

#[test]
fn every_kept_input_of_bundle() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/bundle");
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        kinds.extend(andromede_fuzz::bundle(&fs::read(path).unwrap()));
    }
    let all = andromede_proto::document::kinds().unwrap();
    assert_eq!(kinds, BTreeSet::from_iter(all), "some kind of resource is never converted");
}

/// Numbers that look random and are the same each time (Marsaglia, "Xorshift RNGs", 2003).
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn random_frames_keep_the_promises() {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3_000 {
        let length = random.next() as usize % 160;
        andromede_fuzz::parse(&random.bytes(length));
    }
}

#[test]
fn random_conversations_keep_the_promises() {
    let mut random = Xorshift(0xd1b5_4a32_d192_ed03);
    for _ in 0..2_000 {
        let length = random.next() as usize % 400;
        andromede_fuzz::walk(&random.bytes(length));
    }
}
