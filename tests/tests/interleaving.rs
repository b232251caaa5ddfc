//! Whatever comes between whatever: packets, changes of rules, ports that move, steps of the agent, and agents that begin anew.
//! What passes was permitted by a revision in force at that moment, and in the end what the last one permits passes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use andromede_tests::oracle::{
    Traffic,
    packet::{Packet, What},
    rules::{Does, Remote, Rule},
    weave::{Act, ENDS, Weave},
};
use proptest::{prelude::*, sample::select};

fn packet() -> impl Strategy<Value = Packet> {
    let what = prop_oneof![
        select(vec![(40_000u16, 53u16), (53, 40_000)])
            .prop_map(|(source, destination)| What::Udp { source, destination }),
        (select(vec![(40_000u16, 80u16), (80, 40_000)]), select(vec![2u8, 18, 16, 16, 17]))
            .prop_map(|((source, destination), flags)| What::Tcp { source, destination, flags, data: false }),
    ];
    (proptest::bool::ANY, 0..ENDS.len(), 1..ENDS.len(), what).prop_map(|(v6, from, further, what)| Packet {
        v6,
        from: ENDS[from],
        to: ENDS[(from + further) % ENDS.len()],
        what,
        part: None,
    })
}

fn act() -> impl Strategy<Value = Act> {
    let any = Rule {
        ingress: true,
        does: Does::Allow,
        keep: false,
        priority: 20,
        protocol: None,
        ports: None,
        icmp: None,
        remote: Remote::Any,
    };
    let all = vec![
        vec![any.clone()],
        vec![Rule { does: Does::Deny, ..any.clone() }],
        vec![any.clone(), Rule { ingress: false, does: Does::Deny, ..any.clone() }],
        vec![any.clone(), Rule { does: Does::Deny, priority: 10, remote: Remote::Group(1), ..any }],
        vec![],
    ];
    let by_chance = prop::collection::vec(proptest::num::u64::ANY, 0..4)
        .prop_map(|seeds| seeds.into_iter().map(|seed| Traffic::new(seed | 1).rule()).collect());
    let rules = prop_oneof![2 => select(all), 1 => by_chance];
    prop_oneof![
        12 => packet().prop_map(Act::Send),
        4 => (0..2usize, rules).prop_map(|(group, rules)| Act::Rules(group, rules)),
        1 => (select(ENDS.to_vec()), 1..3u8).prop_map(|(end, host)| Act::Move(end, host)),
        6 => (1..12usize).prop_map(Act::Steps),
        1 => Just(Act::Steps(1_000)),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_passes_was_permitted_by_a_revision_in_force(acts in prop::collection::vec(act(), 1..80)) {
        let mut weave = Weave::new().unwrap();
        for act in &acts {
            if let Err(broken) = weave.act(act).unwrap() {
                return Err(TestCaseError::fail(broken));
            }
        }
        if let Err(broken) = weave.settle().unwrap() {
            return Err(TestCaseError::fail(broken));
        }
    }
}
