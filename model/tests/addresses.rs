//! Addresses for ports that choose none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use andromede_model::{Cause, Model, Resource};
use common::{fabric, name, port, violations, write};

#[test]
fn a_port_that_chooses_no_address_is_given_one_of_each_family_and_keeps_it() {
    let mut model = Model::default();
    write(&mut model, fabric());
    let bare = |id: &str| Resource::from(port("mairie", id, &[], None, &[]));
    let addresses = |model: &Model, id: &str| {
        let name = name(&format!("tenants/mairie/networks/net/ports/{id}"));
        model.port(&name).unwrap().addresses.clone()
    };
    write(&mut model, vec![bare("x")]);
    let given = addresses(&model, "x");
    assert!(matches!(given.as_slice(), [one, two] if one.is_ipv4() && two.is_ipv6()), "{given:?}");
    write(&mut model, vec![port("mairie", "x", &[], Some("h1"), &[]).into(), bare("y")]);
    assert_eq!(addresses(&model, "x"), given, "an update keeps them");
    let commit = model.prepare(vec![], vec![name("tenants/mairie/networks/net/ports/x")]).unwrap();
    model.commit(&commit).unwrap();
    // Made anew under its name: the same, unless they must rest.
    let again = model.prepare(vec![bare("x")], vec![]).unwrap();
    let Resource::Port(again) = &again.written[0] else { panic!("{again:?}") };
    assert_eq!(again.addresses, given);
    let other = model.prepare_with(vec![bare("x")], vec![], &|_, address| given.contains(&address)).unwrap();
    let Resource::Port(other) = &other.written[0] else { panic!("{other:?}") };
    assert!(other.addresses.iter().all(|address| !given.contains(address)), "{other:?}");
    // All at once: every address is given once, until there is none.
    let many: Vec<Resource> = (0..250).map(|number| bare(&format!("m{number}"))).collect();
    let commit = model.prepare(many, vec![]).unwrap();
    let given: Vec<_> =
        commit.written.iter().filter_map(|it| if let Resource::Port(it) = it { Some(it) } else { None }).collect();
    let mut all: Vec<_> = given.iter().flat_map(|port| &port.addresses).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 500);
    model.commit(&commit).unwrap();
    let full = violations(&model, vec![bare("one"), bare("two")]);
    assert!(full.iter().all(|it| it.cause == Cause::Quota && it.rule.contains("subnets/v4")), "{full:#?}");
}

#[test]
fn a_full_network_is_searched_once_in_a_write() {
    let mut model = Model::default();
    write(&mut model, fabric());
    let bare = |number: usize| Resource::from(port("mairie", &format!("x{number}"), &[], None, &[]));
    let asked = std::cell::Cell::new(0_usize);
    let all_rest = |_: &andromede_model::PortName, _| {
        asked.set(asked.get() + 1);
        true
    };
    let refused = model.prepare_with((0..100).map(bare).collect(), vec![], &all_rest).unwrap_err();
    assert_eq!(refused.len(), 100, "each is told");
    assert!(asked.get() <= 256, "{} addresses were looked at, of a subnet of 256", asked.get());
}
