//! A start folds the whole log. How long that takes with many commits:
//! `ANDROMEDE_COMMITS=100000 ./x test -p andromede-controller --test scale -- --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::time::Instant;

use andromede_controller::{
    fold::fold,
    record::Record,
    store::{Head, Store},
};
use andromede_model::{Commit, Counters, Model, Port, Resource};
use prost::Message as _;
use support::bundle::{empty_tenant, host, port_message};

const NETWORKS: u32 = 500;

/// A commit as the model would make it, without the checks that are not measured here.
fn port_commit(model: &Model, number: u32, counters: Counters) -> Commit {
    let mut message = port_message(&format!("t{}", number % NETWORKS), 1, Some((number % 7 + 1) as u8));
    let place = number / NETWORKS % 60_000;
    message.name = format!("tenants/t{}/networks/n/ports/p{place}", number % NETWORKS);
    message.addresses = vec![format!("10.0.{}.{}", place / 200, place % 200 + 2)];
    let [_, a, b, c] = number.to_be_bytes();
    message.mac = format!("02:00:00:{a:02x}:{b:02x}:{c:02x}");
    let revision = model.revision() + 1;
    let port = Port::try_from(message).unwrap();
    Commit {
        revision,
        written: vec![Resource::Port(Port { revision, ..port })],
        deleted: Vec::new(),
        identities: Vec::new(),
        identities_removed: Vec::new(),
        counters,
    }
}

/// How many commits: the number in `ANDROMEDE_COMMITS`.
fn commits() -> u32 {
    std::env::var("ANDROMEDE_COMMITS").map_or(3_000, |text| text.parse().expect("ANDROMEDE_COMMITS is a number"))
}

#[test]
fn a_long_log_is_folded_to_the_model_that_wrote_it() {
    let commits = commits();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut model = Model::default();
    let mut first: Vec<_> = (1..9).map(host).collect();
    first.extend((0..NETWORKS).flat_map(|number| {
        let mut bundle = empty_tenant(&format!("t{number}"));
        bundle[2] = support::bundle::subnet(&format!("t{number}"), "s", "10.0.0.0/16");
        bundle
    }));
    let first = first.into_iter().map(|message| message.try_into().unwrap()).collect();
    let commit = model.prepare(first, Vec::new()).unwrap();
    let counters = commit.counters;
    let mut records = vec![Record::new(&commit, "user/alice", 0).encode_to_vec()];
    model.commit(&commit).unwrap();
    for number in 0..commits {
        let commit = port_commit(&model, number, counters);
        records.push(Record::new(&commit, "user/alice", 0).encode_to_vec());
        model.commit(&commit).unwrap();
    }
    let at = Instant::now();
    let head = store.append(Head { epoch: 1, number: 0 }, &records).unwrap();
    println!("appended {} commits at once in {:?}", head.number, at.elapsed());
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    let at = Instant::now();
    let (folded, _index) = fold(&store).unwrap();
    println!("folded {} commits in {:?}", folded.revision(), at.elapsed());
    assert_eq!(folded, model);
}
