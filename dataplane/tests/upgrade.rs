//! Connections survive an upgrade that changes the layout of their table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod common;

use andromede_abi::{Address, FlowKey, FlowRow1, bytes_of, flow_state, from_bytes, maps};
use andromede_dataplane::{Dataplane, LoadError, PinError, Sizes, Upgraded};
use aya::maps::{HashMap, Map, MapData};
use common::{host, isolated, pins};

/// Keys and rows as bytes: aya wants types of its own crate.
type Old = HashMap<MapData, [u8; size_of::<FlowKey>()], [u8; size_of::<FlowRow1>()]>;

fn flow(number: u16) -> (FlowKey, FlowRow1) {
    let low = Address::from(std::net::Ipv4Addr::new(10, 0, 0, 1));
    let high = Address::from(std::net::Ipv4Addr::new(10, 0, 0, 2));
    let key =
        FlowKey { network: 1, low, high, low_port: number, high_port: 80, protocol: 6, class: 0, reserved: [0; 2] };
    let zero: FlowRow1 = from_bytes(&[0; size_of::<FlowRow1>()]).unwrap();
    let state = flow_state::REPLIED | flow_state::ESTABLISHED;
    (key, FlowRow1 { owner: key.owner(), connection: u64::from(number), state, seen: 5, low_ifindex: 7, ..zero })
}

fn insert(old: &mut Old, number: u16) {
    let (key, row) = flow(number);
    let key: [u8; size_of::<FlowKey>()] = bytes_of(&key).try_into().unwrap();
    let row: [u8; size_of::<FlowRow1>()] = bytes_of(&row).try_into().unwrap();
    old.insert(key, row, 0).unwrap();
}

#[test]
fn connections_of_the_layout_before_are_known_at_their_next_packet() {
    isolated(|bpffs| {
        let pins = pins(bpffs);
        drop(Dataplane::load(Some(&pins), &host(), &Sizes::small()).unwrap());
        std::fs::remove_file(pins.folder().join(format!("FLOWS@{}", maps::FLOWS.layout))).unwrap();
        let pin = pins.folder().join("FLOWS@1");
        Old::create(4096, 0).unwrap().pin(&pin).unwrap();
        // The tables of rules have an older layout too, as they have wherever connections do.
        let rules = ["POLICY_IDS", "POLICY_PREFIXES", "POLICY_SERVICES", "POLICY_CELLS"];
        for name in rules {
            std::fs::rename(pins.folder().join(format!("{name}@2")), pins.folder().join(format!("{name}@1"))).unwrap();
        }
        let mut old = Old::try_from(Map::HashMap(MapData::from_pin(&pin).unwrap())).unwrap();
        for number in 0..2000 {
            insert(&mut old, number);
        }

        let dataplane = Dataplane::load(Some(&pins), &host(), &Sizes::small()).unwrap();
        assert!(dataplane.comes_before_rows().unwrap(), "old programs must not go by rows for new ones");
        let flows = &dataplane.tables.flows;
        assert_eq!(flows.count().unwrap(), 2000, "before any program of the new layout is attached");
        let row = flows.get(&flow(99).0).unwrap().unwrap();
        assert_eq!((row.connection, row.seen, row.low_ifindex), (99, 5, 7));
        assert_eq!((row.lifetime, row.hold, row.initiator_budget), (7_440, 0, 0));
        // What the programs of the new layout wrote stays; what those before opened meanwhile is copied.
        flows.insert(&flow(99).0, &andromede_abi::FlowRow { seen: 77, ..row }).unwrap();
        insert(&mut old, 2000);
        assert_eq!(dataplane.finish_upgrade().unwrap(), Upgraded { moved: 1, lost: 0 });
        assert_eq!(flows.get(&flow(99).0).unwrap().unwrap().seen, 77);
        assert_eq!(flows.count().unwrap(), 2001);
        assert!(!pin.exists(), "the table of the layout before is gone");
        assert!(rules.iter().all(|name| !pins.folder().join(format!("{name}@1")).exists()));
        assert!(!dataplane.comes_before_rows().unwrap());
        assert_eq!(dataplane.finish_upgrade().unwrap(), Upgraded::default());
    });
}

#[test]
fn connections_for_which_there_is_no_room_are_counted_as_lost() {
    isolated(|bpffs| {
        let pins = pins(bpffs);
        drop(Dataplane::load(Some(&pins), &host(), &Sizes::small()).unwrap());
        std::fs::remove_file(pins.folder().join(format!("FLOWS@{}", maps::FLOWS.layout))).unwrap();
        let pin = pins.folder().join("FLOWS@1");
        Old::create(8192, 0).unwrap().pin(&pin).unwrap();
        let mut old = Old::try_from(Map::HashMap(MapData::from_pin(&pin).unwrap())).unwrap();
        let there = 6_000;
        for number in 0..there {
            insert(&mut old, number);
        }
        let dataplane = Dataplane::load(Some(&pins), &host(), &Sizes::small()).unwrap();
        let moved = dataplane.tables.flows.count().unwrap();
        assert!(moved > 4_000 && moved <= 4_096, "as many as there is room for: {moved}");
        let lost = usize::from(there) - moved;
        assert_eq!(dataplane.finish_upgrade().unwrap(), Upgraded { moved: 0, lost }, "and the rest is told");
    });
}

#[test]
fn a_layout_that_is_not_known_is_refused_by_name() {
    isolated(|bpffs| {
        let pins = pins(bpffs);
        drop(Dataplane::load(Some(&pins), &host(), &Sizes::small()).unwrap());
        Old::create(64, 0).unwrap().pin(pins.folder().join("FLOWS@3")).unwrap();
        let error = Dataplane::load(Some(&pins), &host(), &Sizes::small()).unwrap_err();
        assert!(matches!(&error, LoadError::Pins(PinError::Unknown(path)) if path.ends_with("FLOWS@3")), "{error}");
    });
}
