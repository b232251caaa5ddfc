//! The packet path in memory, over rows that the plan compiled, against an oracle that shares no code with either: a scan of the
//! rules and a list of connections. Both are told the same story.
//!
//! Two million packets, which take some minutes:
//!
//! ```text
//! ANDROMEDE_ORACLE_PACKETS=2000000 cargo test --release -p andromede-tests --test oracle
//! ```
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use andromede_abi::DropReason;
use andromede_tests::oracle::{Event, Fates, Story, Traffic};

/// Packets of a run.
const PACKETS: usize = 100_000;
/// Events of a story.
const EVENTS: usize = 1_000;

/// Reasons that must have been met, or little was proved.
const MUST_BE_MET: &[DropReason] = &[
    DropReason::Fragment,
    DropReason::FragmentOverlap,
    DropReason::SpoofedMac,
    DropReason::UnknownSender,
    DropReason::SenderNotHolder,
    DropReason::UnknownDestination,
    DropReason::NoService,
    DropReason::NotHere,
    DropReason::EgressRule,
    DropReason::IngressRule,
    DropReason::NoConnection,
    DropReason::ConnectionCut,
    DropReason::NotAnswered,
    DropReason::UnaskedSynAck,
    DropReason::UnexpectedOpen,
    DropReason::BadIcmpError,
    DropReason::UnrelatedIcmpError,
];

#[test]
fn the_packet_path_does_what_the_documents_say() {
    let wanted = std::env::var("ANDROMEDE_ORACLE_PACKETS").map_or(PACKETS, |text| text.parse().unwrap());
    let mut sent = 0;
    let mut all = Fates::default();
    for seed in 1_u64.. {
        if sent >= wanted {
            break;
        }
        let mut traffic = Traffic::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let story = Story((0..EVENTS).map(|_| traffic.event()).collect());
        sent += story.0.iter().filter(|event| matches!(event, Event::Send(..) | Event::Complain(..))).count();
        let Ok(fates) = story.tell().unwrap() else {
            let (story, difference) = story.shorten().unwrap();
            panic!("seed {seed}:\n{story:?}{difference:?}");
        };
        all.passed += fates.passed;
        all.errors += fates.errors;
        all.dropped.extend(fates.dropped);
    }
    println!("{sent} packets, of which {} passed, and {} ICMP errors: no difference", all.passed, all.errors);
    assert!(all.passed * 5 > sent, "{} of {sent} passed: little was proved", all.passed);
    assert!(all.errors * 150 > sent, "{} ICMP errors of {sent} packets passed: little was proved", all.errors);
    for reason in MUST_BE_MET {
        assert!(all.dropped.contains(reason), "nothing was dropped for {}", reason.name());
    }
}
