//! Tables do what the collections of the pipeline in memory do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use andromede_abi::{Address, MemberKey, MemberRow, Prefixed, SourceKey, from_bytes};
use andromede_dataplane::{Dataplane, Sizes};
use common::{host, isolated};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

/// What is done to a table: a key out of few, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u32),
    Remove(u8),
    RemoveMany(Vec<u8>),
    Get(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..40_u8;
    let step = prop_oneof![
        4 => (key.clone(), any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
        2 => key.clone().prop_map(Step::Remove),
        1 => vec(key.clone(), 0..20).prop_map(Step::RemoveMany),
        2 => key.prop_map(Step::Get),
    ];
    vec(step, 0..80)
}

fn run<T: std::fmt::Debug>(strategy: &impl Strategy<Value = T>, test: impl Fn(T) -> Result<(), TestCaseError>) {
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(strategy, test).unwrap();
}

#[test]
fn a_hash_does_what_a_map_does() {
    isolated(|_| {
        let dataplane = Dataplane::load(None, &host(), &Sizes::small()).unwrap();
        let members = &dataplane.tables.members;
        let zero: MemberRow = from_bytes(&[0; size_of::<MemberRow>()]).unwrap();
        let key = |number: u8| MemberKey { vni: u32::from(number), underlay: Address::UNSPECIFIED };
        run(&steps(), |steps| {
            let mut model = BTreeMap::new();
            for (old, _) in members.all().unwrap() {
                members.remove(&old).unwrap();
            }
            for step in steps {
                match step {
                    Step::Insert(number, zone) => {
                        members.insert(&key(number), &MemberRow { zone, ..zero }).unwrap();
                        model.insert(key(number), MemberRow { zone, ..zero });
                    }
                    Step::Remove(number) => {
                        prop_assert_eq!(members.remove(&key(number)).unwrap(), model.remove(&key(number)).is_some());
                    }
                    Step::RemoveMany(numbers) => {
                        let keys: Vec<MemberKey> = numbers.into_iter().map(key).collect();
                        let removed = keys.iter().filter(|key| model.remove(*key).is_some()).count();
                        prop_assert_eq!(members.remove_many(&keys).unwrap(), removed);
                    }
                    Step::Get(number) => {
                        prop_assert_eq!(members.get(&key(number)).unwrap(), model.get(&key(number)).copied());
                    }
                }
            }
            prop_assert_eq!(members.all().unwrap().into_iter().collect::<BTreeMap<_, _>>(), model);
            Ok(())
        });
    });
}

#[test]
fn a_longest_prefix_table_finds_the_longest_prefix() {
    // Prefixes of 8 bits behind the slot, so that they nest.
    let prefixes = vec((0..=8_u32, any::<u8>(), any::<u32>()), 0..30);
    let cases = (prefixes, vec(any::<u8>(), 1..20));
    isolated(move |_| {
        let dataplane = Dataplane::load(None, &host(), &Sizes::small()).unwrap();
        let sources = &dataplane.tables.sources;
        let key = |length: u32, byte: u8| {
            let byte = if length == 0 { 0 } else { byte & (0xff_u32 << (8 - length)) as u8 };
            let address = Address([u32::from_ne_bytes([byte, 0, 0, 0]), 0, 0, 0]);
            Prefixed { length: 32 + length, data: SourceKey { slot: 7, address } }
        };
        run(&cases, |(prefixes, addresses)| {
            for (old, _) in sources.all().unwrap() {
                prop_assert!(sources.remove(&old).unwrap());
            }
            let mut model = BTreeMap::new();
            for (length, byte, value) in prefixes {
                sources.insert(&key(length, byte), &value).unwrap();
                model.insert(key(length, byte), value);
            }
            prop_assert_eq!(sources.all().unwrap().into_iter().collect::<BTreeMap<_, _>>(), model.clone());
            for byte in addresses {
                let longest = (0..=8).rev().find_map(|length| model.get(&key(length, byte)).copied());
                let mut whole = key(8, byte);
                whole.length = 160;
                prop_assert_eq!(sources.get(&whole).unwrap(), longest);
            }
            Ok(())
        });
    });
}
