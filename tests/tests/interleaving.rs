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
        weave::{Act, ENDS, Follow, Weave},
    },
    twin::{END_LOCAL_B, END_REMOTE, END_VTEP, End},
};
use proptest::{prelude::*, sample::select};

/// SYN, SYN-ACK, ACK, FIN-ACK, RST.
const FLAGS: [u8; 6] = [2, 18, 16, 16, 17, 4];
/// Parts of datagrams that do not begin them.
const LATER: [(usize, usize); 5] = [(16, 32), (24, 40), (32, 48), (32, DATAGRAM), (48, DATAGRAM)];

/// From which end to which, by their places: most often between two that are here at first, hardly ever between two that are not.
const WAYS: [(usize, usize); 12] =
    [(0, 1), (0, 1), (1, 0), (0, 2), (2, 0), (2, 1), (2, 1), (1, 2), (1, 2), (3, 1), (0, 3), (2, 3)];

fn follow() -> impl Strategy<Value = Follow> {
    prop_oneof![
        1 => select(FLAGS.to_vec()).prop_map(Follow::Same),
        2 => select(FLAGS.to_vec()).prop_map(Follow::Answer),
        2 => select(LATER.to_vec()).prop_map(|(start, end)| Follow::Part(start, end)),
    ]
}

/// What may be sent. Of datagrams there are few, so that their pieces meet.
fn packet() -> impl Strategy<Value = Packet> {
    let ports = |service: u16| select(vec![(40_000u16, service), (service, 40_000)]);
    let part = prop_oneof![select(vec![(0, 16), (0, 32)]), select(LATER.to_vec())];
    let part = (1..3u32, part).prop_map(|(id, (start, end))| Part { id, start, end });
    let udp = (ports(53), prop::option::weighted(0.4, part.clone()))
        .prop_map(|((source, destination), part)| (What::Udp { source, destination }, part));
    let tcp = (ports(80), select(FLAGS.to_vec()))
        .prop_map(|((source, destination), flags)| (What::Tcp { source, destination, flags, data: false }, None));
    let echo = (proptest::bool::ANY, prop::option::weighted(0.4, part))
        .prop_map(|(request, part)| (What::Echo { request, id: 1 }, part));
    let what = prop_oneof![4 => udp, 6 => tcp, 1 => echo];
    (proptest::bool::ANY, select(WAYS.to_vec()), what).prop_map(|(v6, (from, to), (what, part))| Packet {
        v6,
        from: ENDS[from],
        to: ENDS[to],
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

/// What the controller or the operator writes.
fn change() -> impl Strategy<Value = Act> {
    let remote = prop_oneof![
        3 => Just(Remote::Any),
        2 => (0..LISTS.len()).prop_map(Remote::List),
        1 => (0..2usize).prop_map(Remote::Group),
        1 => prefix().prop_map(|(network, bits)| Remote::Cidr(network, bits)),
    ];
    let of_operator =
        prop_oneof![3 => Just(Remote::Any), 1 => prefix().prop_map(|(network, bits)| Remote::Cidr(network, bits))];
    let tenants = rule(&[Does::Allow, Does::Allow, Does::Deny], remote);
    let operators = rule(&[Does::Allow, Does::Deny, Does::Pass], of_operator);
    let prefixes = prop::collection::btree_set(prefix(), 1..4).prop_map(|prefixes| prefixes.into_iter().collect());
    prop_oneof![
        4 => (0..2usize, prop::collection::vec(tenants, 0..4)).prop_map(|(group, rules)| Act::Rules(group, rules)),
        1 => prop::collection::vec(operators, 0..3).prop_map(Act::Operator),
        2 => (0..LISTS.len(), prefixes).prop_map(|(list, prefixes)| Act::List(list, prefixes)),
        1 => (select(PORTS.to_vec()), select(vec![1, 1, 2])).prop_map(|(end, host): (End, u8)| Act::Move(end, host)),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => packet().prop_map(Act::Send),
        8 => follow().prop_map(Act::Follow),
        1 => packet().prop_map(Act::Stray),
        8 => change(),
        6 => (1..12usize).prop_map(Act::Steps),
        3 => Just(Act::Steps(1_000)),
        1 => Just(Act::Restart),
    ]
}

/// A conversation that the receiver's rules permit, and a change while it goes on.
fn conversation() -> impl Strategy<Value = Vec<Act>> {
    let steps = prop_oneof![4 => Just(1_000), 1 => 1..12usize].prop_map(Act::Steps);
    let follows = |most| prop::collection::vec(follow().prop_map(Act::Follow), 0..most);
    let door = prop::option::weighted(0.8, rule(&[Does::Allow], Just(Remote::Any)));
    let opening = (door, steps.clone(), packet().prop_map(opens), follows(3));
    (opening, prop::option::weighted(0.9, (change(), steps)), follows(4)).prop_map(
        |((door, in_force, packet, said), changed, more)| {
            let group = usize::from(packet.to != PORTS[0]);
            let door = door.map(|rule| Act::Rules(group, vec![Rule { ingress: true, ..rule }]));
            let head = door.into_iter().chain([in_force, Act::Send(packet)]).chain(said);
            head.chain(changed.into_iter().flat_map(|(change, steps)| [change, steps])).chain(more).collect()
        },
    )
}

/// The packet as it would open a connection.
fn opens(packet: Packet) -> Packet {
    let what = match packet.what {
        What::Tcp { .. } => What::Tcp { source: 40_000, destination: 80, flags: 2, data: false },
        What::Udp { .. } => What::Udp { source: 40_000, destination: 53 },
        _ => What::Echo { request: true, id: 1 },
    };
    Packet { what, part: packet.part.map(|part| Part { start: 0, end: 16, ..part }), ..packet }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let some = prop_oneof![3 => act().prop_map(|act| vec![act]), 2 => conversation()];
    prop::collection::vec(some, 1..30).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, max_shrink_iters: 8_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_passes_was_permitted_by_a_revision_in_force(acts in acts()) {
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
