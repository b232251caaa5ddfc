//! How long a start takes. Run it with `cargo test -p andromede-controller --test scale -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Instant;

use andromede_controller::{
    publish::Move,
    record::Record,
    store::{Head, Store},
    writer::fold,
};
use andromede_model::{Model, Resource};
use prost::Message as _;
use support::bundle::{empty_tenant, host, port_message};

const NETWORKS: u32 = 500;

fn port(number: u32) -> Resource {
    let mut message = port_message(&format!("t{}", number % NETWORKS), 1, Some((number % 7 + 1) as u8));
    let place = number / NETWORKS % 60_000;
    message.name = format!("tenants/t{}/networks/n/ports/p{place}", number % NETWORKS);
    message.addresses = vec![format!("10.0.{}.{}", place / 200, place % 200 + 2)];
    message.try_into().map(Resource::Port).unwrap()
}

#[test]
#[ignore = "a measurement"]
fn a_log_of_100_000_commits_is_folded() {
    let commits: u32 = std::env::var("COMMITS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut model = Model::default();
    let mut head = Head { epoch: 1, number: 0 };
    let mut records = Vec::new();
    let started = Instant::now();
    let (mut preparing, mut committing) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    let mut first: Vec<_> = (1..9).map(host).collect();
    first.extend((0..NETWORKS).flat_map(|number| {
        let mut bundle = empty_tenant(&format!("t{number}"));
        bundle[2] = support::bundle::subnet(&format!("t{number}"), "s", "10.0.0.0/16");
        bundle
    }));
    let mut write = |written: Vec<Resource>, records: &mut Vec<Vec<u8>>| {
        let at = Instant::now();
        let commit = model.prepare(written, Vec::new()).unwrap();
        preparing += at.elapsed();
        records.push(Record::new(&commit, "user/alice").encode_to_vec());
        let at = Instant::now();
        model.commit(&commit).unwrap();
        committing += at.elapsed();
    };
    write(first.into_iter().map(|message| message.try_into().unwrap()).collect(), &mut records);
    for number in 0..commits {
        write(vec![port(number)], &mut records);
        if records.len() >= 10_000 {
            head = store.append(head, &records).unwrap();
            records.clear();
        }
    }
    head = store.append(head, &records).unwrap();
    println!("made {} commits in {:?} (prepare {preparing:?}, commit {committing:?})", head.number, started.elapsed());
    let at = Instant::now();
    for number in 0..1_000 {
        let ahead = model.clone();
        let commit = model.prepare(vec![port(number * 31 % commits), port(commits + number)], Vec::new()).unwrap();
        let moves = Move::all(&ahead, &commit);
        assert_eq!(moves.len(), 1);
        model.commit(&commit).unwrap();
    }
    println!("1000 changes with a reader: {:?}", at.elapsed());
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    let at = Instant::now();
    let (folded, _index) = fold(&store).unwrap();
    println!("folded {} commits in {:?}", folded.revision(), at.elapsed());
}
