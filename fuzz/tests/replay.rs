//! Replays every kept input, and a stream of random ones, by the functions that the fuzz targets run.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut replayed = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        run(&fs::read(path).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0, "{} holds no input", folder.display());
}

#[test]
fn every_kept_input_of_parse() {
    replay("parse", andromede_fuzz::parse);
}

#[test]
fn every_kept_input_of_walk() {
    replay("walk", andromede_fuzz::walk);
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
