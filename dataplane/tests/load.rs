//! Loading, adopting and the tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod common;

use andromede_abi::{Address, FlowKey, FlowRow, LocationKey, Prefixed, SourceKey, bytes_of, from_bytes, maps};
use andromede_dataplane::{Dataplane, LoadError, OBJECT, PinError, Sizes, TableError, Tables};
use aya::{EbpfLoader, programs::SchedClassifier};
use common::{host, isolated, pins};

fn flow(number: u16) -> (FlowKey, FlowRow) {
    let low = Address::from(std::net::Ipv4Addr::new(10, 0, 0, 1));
    let high = Address::from(std::net::Ipv4Addr::new(10, 0, 0, 2));
    let key =
        FlowKey { network: 1, low, high, low_port: number, high_port: 80, protocol: 6, class: 0, reserved: [0; 2] };
    let zero: FlowRow = from_bytes(&[0; size_of::<FlowRow>()]).unwrap();
    (key, FlowRow { owner: key.owner(), seen: u64::from(number), ..zero })
}

#[test]
fn tables_keep_what_is_written_and_the_next_process_finds_it() {
    isolated(|bpffs| {
        let pins = pins(bpffs);
        let first = Dataplane::load(Some(&pins), &host(), &Sizes::small()).unwrap();
        for number in 0..3000 {
            let (key, row) = flow(number);
            first.tables.flows.insert(&key, &row).unwrap();
        }
        first.tables.epochs.set(7, 3).unwrap();
        let key = SourceKey { slot: 4, address: Address::from(std::net::Ipv4Addr::new(10, 1, 0, 0)) };
        first.tables.sources.insert(&Prefixed { length: 32 + 96 + 16, data: key }, &1).unwrap();
        drop(first);

        let second = Dataplane::load(Some(&pins), &host(), &Sizes::small()).unwrap();
        let mut flows = second.tables.flows.all().unwrap();
        flows.sort_by_key(|(key, _)| key.low_port);
        assert_eq!(flows.len(), 3000);
        assert!((0..3000).map(flow).eq(flows));
        assert_eq!(second.tables.epochs.get(7).unwrap(), 3);
        assert_eq!(second.tables.epochs.all().unwrap(), [(7, 3)]);
        let inside = SourceKey { slot: 4, address: Address::from(std::net::Ipv4Addr::new(10, 1, 2, 3)) };
        let outside = SourceKey { slot: 4, address: Address::from(std::net::Ipv4Addr::new(10, 2, 2, 3)) };
        assert_eq!(second.tables.sources.get(&Prefixed { length: 160, data: inside }).unwrap(), Some(1));
        assert_eq!(second.tables.sources.get(&Prefixed { length: 160, data: outside }).unwrap(), None);
        let all = second.tables.sources.all().unwrap();
        assert_eq!(all, [(Prefixed { length: 144, data: key }, 1)]);

        let opened = Tables::open(&pins, &Sizes::small()).unwrap();
        assert_eq!(opened.flows.count().unwrap(), 3000);
    });
}

#[test]
fn a_full_table_says_so() {
    isolated(|_| {
        let mut sizes = Sizes::small();
        sizes.set("LOCATIONS", 8).unwrap();
        assert!(matches!(sizes.set("NOTHING", 8), Err(LoadError::UnknownTable(_))));
        let dataplane = Dataplane::load(None, &host(), &sizes).unwrap();
        let row = from_bytes(&[0; 64]).unwrap();
        let mut error = None;
        for network in 0..64 {
            let key = LocationKey { network, address: Address::UNSPECIFIED };
            error = dataplane.tables.locations.insert(&key, &row).err();
            if error.is_some() {
                break;
            }
        }
        assert!(matches!(error, Some(TableError::Full { table: "LOCATIONS", rows: 8 })), "{error:?}");
        let capacity = dataplane.tables.epochs.capacity();
        assert!(matches!(dataplane.tables.epochs.set(capacity, 1), Err(TableError::OutOfRange { .. })));
    });
}

#[test]
fn what_does_not_fit_is_not_adopted() {
    isolated(|bpffs| {
        let pins = pins(bpffs);
        drop(Dataplane::load(Some(&pins), &host(), &Sizes::small()).unwrap());
        let mut larger = Sizes::small();
        larger.set("FLOWS", 8192).unwrap();
        let pin = format!("FLOWS@{}", maps::FLOWS.layout);
        let error = Dataplane::load(Some(&pins), &host(), &larger).unwrap_err();
        assert!(matches!(&error, LoadError::Adopt { path, .. } if path.ends_with(&pin)), "{error}");
        assert!(error.to_string().contains("the number of rows is 4096, but this build needs 8192"), "{error}");

        std::fs::rename(pins.folder().join(pin), pins.folder().join("FLOWS@9")).unwrap();
        let error = Dataplane::load(Some(&pins), &host(), &Sizes::small()).unwrap_err();
        assert!(matches!(&error, LoadError::Pins(PinError::Unknown(path)) if path.ends_with("FLOWS@9")), "{error}");
    });
}

#[test]
fn pins_need_a_bpf_file_system() {
    isolated(|_| {
        let folder = tempfile::tempdir().unwrap();
        let error = Dataplane::load(Some(&pins(folder.path())), &host(), &Sizes::small()).unwrap_err();
        assert!(matches!(error, LoadError::Pins(PinError::NotBpffs(_))), "{error}");
    });
}

/// The most instructions that the verifier may look at for a program, each as often as it meets it: Linux gives up at a million, and an
/// emulated processor looks at a hundred thousand in a second.
const VERIFIED: [(&str, u32); 5] = [
    (maps::program::FROM_WORKLOAD, 45_000),
    (maps::program::FROM_UNDERLAY, 45_000),
    (maps::program::FROM_OVERLAY, 45_000),
    (maps::program::FROM_HOST, 45_000),
    (maps::program::REAP, 5_000),
];

#[test]
fn programs_are_verified_in_few_steps() {
    isolated(|_| {
        let sizes = Sizes::small();
        let mut loader = EbpfLoader::new();
        let host = host();
        loader.override_global(maps::HOST_CONFIG, bytes_of(&host), true);
        for table in maps::ALL {
            loader.map_max_entries(table.name, sizes.of(table));
        }
        let mut object = loader.load(OBJECT).unwrap();
        for (name, most) in VERIFIED {
            let program: &mut SchedClassifier = object.program_mut(name).unwrap().try_into().unwrap();
            let begun = std::time::Instant::now();
            program.load().unwrap();
            let verified = program.info().unwrap().verified_instruction_count().unwrap();
            println!("{name}: {verified} instructions verified in {:?}", begun.elapsed());
            assert!(verified <= most, "{name}: {verified} instructions are verified, more than {most}");
        }
    });
}
