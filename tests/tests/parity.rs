//! Promise 7: what runs in the kernel is what runs in memory. Every frame has the same verdict and the same bytes in both.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::{DropReason, target};
use andromede_pipeline::EditKind;
use andromede_tests::twin::{Generator, SmallFabric, Twin};
use serde_json::json;

/// Frames of one run.
const FRAMES: usize = 100_000;
/// Frames between two changes of the rules.
const BETWEEN_CHANGES: usize = 10_000;

/// A hundred thousand frames by chance, while the rules change: the same verdict record and the same bytes each time.
#[test]
fn kernel_and_memory_agree_on_frames_by_chance() {
    andromede_testkit::requires::require(&["ip"]).unwrap();
    let namespace = SmallFabric::namespace().unwrap();
    let seen = namespace.run(stream).unwrap();
    for reason in MUST_BE_MET {
        assert!(seen.contains_key(&(target::DROP, *reason as u16)), "no frame was dropped for {}", reason.name());
    }
    for target in [target::DELIVER, target::ENCAP, target::REPLY, target::HOST, target::OVERLAY_DEVICE] {
        assert!(seen.contains_key(&(target, 0)), "no frame had the target {target}: {seen:?}");
    }
}

/// Reasons that the stream must have met, or it proves little.
const MUST_BE_MET: &[DropReason] = &[
    DropReason::Truncated,
    DropReason::BadIpHeader,
    DropReason::ExtensionHeaders,
    DropReason::Fragment,
    DropReason::BadTransport,
    DropReason::BadFragment,
    DropReason::TinyFragment,
    DropReason::HeaderFragment,
    DropReason::FragmentOverlap,
    DropReason::FragmentTooLong,
    DropReason::FragmentedControl,
    DropReason::BadArp,
    DropReason::SpoofedMac,
    DropReason::SpoofedSource,
    DropReason::SpoofedNeighbor,
    DropReason::LinkLocal,
    DropReason::DuplicateAddressProbe,
    DropReason::UnknownNeighbor,
    DropReason::NeighborIgnored,
    DropReason::UnknownDestination,
    DropReason::NotHere,
    DropReason::NoService,
    DropReason::Loop,
    DropReason::UnknownSender,
    DropReason::SenderNotHolder,
    DropReason::EgressRule,
    DropReason::IngressRule,
    DropReason::NoConnection,
    DropReason::ConnectionCut,
    DropReason::UnaskedSynAck,
    DropReason::NotAnswered,
    DropReason::UnexpectedOpen,
    DropReason::BadIcmpError,
    DropReason::UnrelatedIcmpError,
    DropReason::HostNotAdmitted,
    DropReason::InfrastructureAddress,
];

fn stream() -> BTreeMap<(u8, u16), usize> {
    let mut fabric = SmallFabric::new().unwrap();
    let mut twin = Twin::new(fabric.host_config(), fabric.rows()).unwrap();
    let mut generator = Generator::new(0x616e_6472_6f6d_6564);
    let (mut seen, mut edits) = (BTreeMap::new(), BTreeSet::new());
    for round in 0..FRAMES / BETWEEN_CHANGES {
        let frames = (0..BETWEEN_CHANGES).map(|_| generator.frame());
        twin.compare_all(frames, |_, outcome| {
            edits.insert(outcome.record.edit);
            *seen.entry((outcome.record.target, outcome.record.reason)).or_insert(0) += 1;
        })
        .unwrap();
        twin.flows().unwrap();
        twin.hits().unwrap();
        let action = if round % 2 == 0 { "deny" } else { "allow" };
        let rules = json!([
            {"name": "all", "direction": "ingress", "action": action, "log": round % 4 < 2},
            {"name": "web", "direction": "egress", "action": action, "protocol": "tcp", "priority": 1},
        ]);
        fabric.set_rules(if round % 3 == 0 { "red" } else { "blue" }, &rules).unwrap();
        twin.write(fabric.rows()).unwrap();
    }
    for edit in [EditKind::TranslateDestination, EditKind::TranslateSource] {
        assert!(edits.contains(&(edit as u8)), "no frame was translated: {edit:?}");
    }
    seen
}
