//! Whatever comes between whatever: packets and datagrams in pieces, changes of rules, of the operator's and of prefix lists, ports that
//! move, steps of the agent, and agents that begin anew.
//! What passes was permitted by a revision in force at that moment, by a rule of then or by one that keeps; nothing else is cut; and
//! in the end what the last revision permits passes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::IpAddr;

use andromede_tests::{
    oracle::{
        PORTS,
        packet::{DATAGRAM, Packet, Part, What},
        rules::{Does, LISTS, Remote, Rule},
        weave::{Act, ENDS, Weave},
    },
    twin::{END_LOCAL_B, END_REMOTE, END_VTEP, End},
};
use proptest::{prelude::*, sample::select};

/// What may be sent. Of datagrams there are few, so that their pieces meet.
fn packet() -> impl Strategy<Value = Packet> {
    let ports = |service: u16| select(vec![(40_000u16, service), (service, 40_000)]);
    let parts = [(0, 16), (0, 32), (16, 32), (24, 40), (32, 48), (32, DATAGRAM), (48, DATAGRAM)];
    let part = (1..3u32, select(parts.to_vec())).prop_map(|(id, (start, end))| Part { id, start, end });
    let udp = (ports(53), prop::option::weighted(0.4, part.clone()))
        .prop_map(|((source, destination), part)| (What::Udp { source, destination }, part));
    let tcp = (ports(80), select(vec![2u8, 18, 16, 16, 17, 4]))
        .prop_map(|((source, destination), flags)| (What::Tcp { source, destination, flags, data: false }, None));
    let echo = (proptest::bool::ANY, prop::option::weighted(0.4, part))
        .prop_map(|(request, part)| (What::Echo { request, id: 1 }, part));
    let what = prop_oneof![4 => udp, 6 => tcp, 1 => echo];
    (proptest::bool::ANY, 0..ENDS.len(), 1..ENDS.len(), what).prop_map(|(v6, from, further, (what, part))| Packet {
        v6,
        from: ENDS[from],
        to: ENDS[(from + further) % ENDS.len()],
        what,
        part,
    })
}

fn prefix() -> impl Strategy<Value = (IpAddr, u8)> {
    let far = [(END_REMOTE.v6().into(), 128), (END_LOCAL_B.v4().into(), 31), (END_VTEP.v6().into(), 128)];
    select(LISTS.iter().flat_map(|(_, prefixes)| prefixes.iter().copied()).chain(far).collect::<Vec<_>>())
}

/// A rule. Those that keep have priorities of their own, so that of equal ones all do.
fn rule(does: &'static [Does], remote: impl Strategy<Value = Remote>) -> impl Strategy<Value = Rule> {
    let kinds =
        vec![(None, None), (Some(17), None), (Some(6), None), (Some(17), Some((53, 53))), (Some(6), Some((80, 443)))];
    (prop::bool::weighted(0.8), select(does), proptest::bool::ANY, select(vec![20u16, 10]), select(kinds), remote)
        .prop_map(|(ingress, does, keep, priority, (protocol, ports), remote)| Rule {
            ingress,
            does,
            keep: keep && does != Does::Pass,
            priority: priority + u16::from(keep) + 2 * u16::from(does == Does::Pass),
            protocol,
            ports,
            icmp: None,
            remote,
        })
}

fn act() -> impl Strategy<Value = Act> {
    let remote = prop_oneof![
        3 => Just(Remote::Any),
        2 => (0..LISTS.len()).prop_map(Remote::List),
        1 => (0..2usize).prop_map(Remote::Group),
        1 => prefix().prop_map(|(network, bits)| Remote::Cidr(network, bits)),
    ];
    let operators =
        prop_oneof![3 => Just(Remote::Any), 1 => prefix().prop_map(|(network, bits)| Remote::Cidr(network, bits))];
    let tenants = rule(&[Does::Allow, Does::Allow, Does::Deny], remote);
    let operators = rule(&[Does::Allow, Does::Deny, Does::Pass], operators);
    let prefixes = prop::collection::btree_set(prefix(), 1..4).prop_map(|prefixes| prefixes.into_iter().collect());
    prop_oneof![
        14 => packet().prop_map(Act::Send),
        1 => packet().prop_map(Act::Stray),
        4 => (0..2usize, prop::collection::vec(tenants, 0..4)).prop_map(|(group, rules)| Act::Rules(group, rules)),
        1 => prop::collection::vec(operators, 0..3).prop_map(Act::Operator),
        2 => (0..LISTS.len(), prefixes).prop_map(|(list, prefixes)| Act::List(list, prefixes)),
        1 => (select(PORTS.to_vec()), 1..3u8).prop_map(|(end, host): (End, u8)| Act::Move(end, host)),
        6 => (1..12usize).prop_map(Act::Steps),
        3 => Just(Act::Steps(1_000)),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 8_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_passes_was_permitted_by_a_revision_in_force(acts in prop::collection::vec(act(), 1..100)) {
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
