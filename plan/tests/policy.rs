//! Compiled rules decide as a scan of all rules does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use andromede_abi::{Action, Address};
use andromede_model::Direction;
use andromede_plan::{Rows, compile};
use common::{
    lookup::{self, packet},
    oracle::oracle,
    world::{World, addresses, port_name, world},
};
use proptest::{prelude::*, sample::select};

/// A world in which the first port is here and attached.
fn with_a_port_here() -> impl Strategy<Value = World> {
    world().prop_map(|mut world| {
        let first = world.ports[0].get_or_insert(common::world::PortSpec {
            host: 0,
            attached: true,
            groups: [true, false, true],
            extra: None,
            mac: 0,
        });
        first.host = 0;
        first.attached = true;
        world
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compiled_rules_decide_as_a_scan_does(
        world in with_a_port_here(),
        packets in prop::collection::vec((select(addresses()), 0u32..8, packet(), any::<bool>()), 40),
    ) {
        let view = world.view();
        let wanted = compile(std::slice::from_ref(&view), &world.facts(), &world.attachments(), &Rows::default()).unwrap();
        let row = wanted.rows.ports[&World::ifindex(0)];
        let groups = &view.ports[&port_name(0)].groups;
        for (remote, identity, service, ingress) in packets {
            let (direction, sets) = if ingress {
                (Direction::Ingress, (row.operator_ingress_set, row.ingress_set))
            } else {
                (Direction::Egress, (row.operator_egress_set, row.egress_set))
            };
            let expected = oracle(&view, groups, direction, identity, remote, service);
            let expected = expected.map(|rule| {
                let allow = rule.action == andromede_model::Action::Allow;
                (rule.number, if allow { Action::Allow as u8 } else { Action::Deny as u8 })
            });
            let found = lookup::decide(&wanted.rows, sets, identity, Address::from(remote), service);
            prop_assert_eq!(found.map(|cell| (cell.rule, cell.action)), expected, "{:?} {} {:?}", direction, remote, service);
        }
    }

    #[test]
    fn the_same_input_gives_the_same_rows(world in world()) {
        let once = || compile(&[world.view()], &world.facts(), &world.attachments(), &Rows::default()).unwrap();
        prop_assert_eq!(once(), once());
    }
}
