//! Compiled rules decide as a scan of all rules does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::{collections::BTreeSet, net::IpAddr};

use andromede_abi::{Action, Address};
use andromede_model::{Direction, NetworkView, PortRange, Protocol, Remote, Rule, SecurityGroupName};
use andromede_plan::{Rows, compile};
use common::{
    lookup::{self, Service},
    world::{World, addresses, packet, port_name, world},
};
use proptest::{prelude::*, sample::select};

/// Does a rule match? Written as the schema says it, without any table.
fn matches(rule: &Rule, view: &NetworkView, identity: u32, remote: IpAddr, service: Service) -> bool {
    let protocol = match rule.protocol {
        Protocol::Any => true,
        Protocol::Number(number) => number == service.protocol,
    };
    let ports = rule.ports.is_empty() || rule.ports.iter().any(|range: &PortRange| range.contains(service.port));
    let [kind, code] = service.port.to_be_bytes();
    let icmp = rule.icmp_type.is_none_or(|wanted| wanted == kind) && rule.icmp_code.is_none_or(|wanted| wanted == code);
    let other_side = match &rule.remote {
        Remote::Any => true,
        Remote::Cidr(cidr) => cidr.contains(remote),
        Remote::Group(group) => view.identities.get(&identity).is_some_and(|groups| groups.contains(group)),
    };
    protocol && ports && icmp && other_side
}

/// The rule that decides, found by looking at all of them.
fn oracle<'a>(
    view: &'a NetworkView,
    groups: &BTreeSet<SecurityGroupName>,
    direction: Direction,
    identity: u32,
    remote: IpAddr,
    service: Service,
) -> Option<&'a Rule> {
    let rules = groups.iter().flat_map(|group| &view.groups[group].rules);
    rules
        .filter(|rule| rule.direction == direction && matches(rule, view, identity, remote, service))
        .min_by_key(|rule| (rule.priority, rule.action == andromede_model::Action::Allow, rule.number))
}

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
            let (direction, set) =
                if ingress { (Direction::Ingress, row.ingress_set) } else { (Direction::Egress, row.egress_set) };
            let expected = oracle(&view, groups, direction, identity, remote, service);
            let expected = expected.map(|rule| {
                let allow = rule.action == andromede_model::Action::Allow;
                (rule.number, if allow { Action::Allow as u8 } else { Action::Deny as u8 })
            });
            let found = lookup::cell(&wanted.rows, set, identity, Address::from(remote), service);
            prop_assert_eq!(found.map(|cell| (cell.rule, cell.action)), expected, "{:?} {} {:?}", direction, remote, service);
        }
    }

    #[test]
    fn the_same_input_gives_the_same_rows(world in world()) {
        let once = || compile(&[world.view()], &world.facts(), &world.attachments(), &Rows::default()).unwrap();
        prop_assert_eq!(once(), once());
    }
}
