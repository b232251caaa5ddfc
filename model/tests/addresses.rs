//! Addresses for ports that choose none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::net::IpAddr;

use andromede_model::{
    Cause, Model, PortName, Prefix, Reservation, Resource, ResourceKind, Resting, Subnet, Violation, limits,
};
use common::{fabric, name, port, subnet, violations, write};

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
    let other =
        model.prepare_with(vec![bare("x")], vec![], &|_: &PortName, address: IpAddr| given.contains(&address)).unwrap();
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

/// A port of the network that is given what is left.
fn bare(id: &str) -> Resource {
    port("mairie", id, &[], None, &[]).into()
}

fn reservation(name_of: &str, cidr: &str, port: Option<&str>) -> Reservation {
    let port = port.map(|port| name(&format!("tenants/mairie/networks/net/ports/{port}")));
    Reservation { name: name(name_of), cidr: name(cidr), port, description: String::new() }
}

fn with(reservations: Vec<Reservation>) -> Resource {
    Subnet { reservations, ..subnet("mairie", "v4", "10.0.0.0/24") }.into()
}

#[test]
fn reservations_are_parts_of_their_subnet_with_names_of_their_own() {
    let mut model = Model::default();
    write(&mut model, fabric());
    let fields = |reservations| {
        let refused = violations(&model, vec![with(reservations)]);
        refused.into_iter().map(|it| it.field.replace("resources[0].subnet.", "")).collect::<Vec<_>>()
    };
    let vips = || reservation("vips", "10.0.0.64/26", None);
    assert_eq!(fields(vec![reservation("a", "10.0.1.0/24", None)]), ["reservations[0].cidr"], "outside");
    assert_eq!(fields(vec![reservation("a", "10.0.0.0/23", None)]), ["reservations[0].cidr"], "wider");
    assert_eq!(fields(vec![reservation("a", "fd00::/64", None)]), ["reservations[0].cidr"], "of the other family");
    assert_eq!(fields(vec![reservation("a", "10.0.0.70/32", None), vips()]), ["reservations[0].cidr"], "overlapping");
    assert_eq!(fields(vec![vips(), reservation("vips", "10.0.0.9/32", None)]), ["reservations[1].name"]);
    let elsewhere = Some(name("tenants/mairie/networks/other/ports/p"));
    assert_eq!(fields(vec![Reservation { port: elsewhere, ..vips() }]), ["reservations[0].port"]);
    let long = "x".repeat(limits::DESCRIPTION + 1);
    assert_eq!(fields(vec![Reservation { description: long, ..vips() }]), ["reservations[0].description"]);
    assert_eq!(
        fields(vec![Reservation { description: "\u{1b}[2J".into(), ..vips() }]),
        ["reservations[0].description"]
    );
    let many =
        (0..=limits::RESERVATIONS_PER_SUBNET).map(|number| reservation(&format!("r{number}"), "10.0.0.9/32", None));
    assert_eq!(fields(many.collect()), ["reservations"]);
    write(&mut model, vec![with(vec![vips(), reservation("db", "10.0.0.9/32", Some("db"))])]);
}

#[test]
fn what_is_kept_for_a_port_waits_for_it() {
    let mut model = Model::default();
    write(&mut model, fabric());
    write(&mut model, vec![with(vec![reservation("db", "10.0.0.9/32", Some("db"))])]);
    let given = |model: &Model, resting: &dyn Resting| -> Result<String, Violation> {
        let commit = model.prepare_with(vec![bare("db")], vec![], resting).map_err(|mut refused| refused.remove(0))?;
        match commit.written.into_iter().next() {
            Some(Resource::Port(port)) => Ok(port.addresses[0].to_string()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(given(&model, &|_: &PortName, _: IpAddr| false).unwrap(), "10.0.0.9");
    // Another had it a moment ago: it is not given something else instead.
    let refused = given(&model, &|_: &PortName, address: IpAddr| address.is_ipv4()).unwrap_err();
    assert_eq!((refused.cause, refused.field.as_str()), (Cause::Quota, "resources[0].port.addresses"));
    // Others get everything else.
    let commit = model.prepare((0..252).map(|number| bare(&format!("m{number}"))).collect(), vec![]);
    let commit = commit.map_err(|refused| refused[0].clone()).unwrap_err();
    assert!(commit.rule.contains("1 reserved"), "{commit}");
}

/// A port had these addresses.
struct Had(&'static str, Vec<IpAddr>);

impl Resting for Had {
    fn holds_back(&self, port: &PortName, address: IpAddr) -> bool {
        port.id() != self.0 && self.1.contains(&address)
    }

    fn last_of(&self, port: &PortName) -> Vec<IpAddr> {
        if port.id() == self.0 { self.1.clone() } else { Vec::new() }
    }
}

#[test]
fn a_port_that_is_made_anew_gets_what_it_had_wherever_its_name_points() {
    let mut model = Model::default();
    write(&mut model, fabric());
    let given = |model: &Model, had: Had| {
        let commit = model.prepare_with(vec![bare("x")], vec![], &had).unwrap();
        let Resource::Port(port) = commit.written.into_iter().next().unwrap() else { panic!("no port") };
        port.addresses
    };
    let had: IpAddr = name("10.0.0.77");
    let first = given(&model, Had("nobody", vec![]));
    let v6 = |addresses: &[IpAddr]| addresses.iter().copied().find(IpAddr::is_ipv6).unwrap();
    assert_ne!(first[0], had);
    assert_eq!(given(&model, Had("x", vec![had, v6(&first)])), [had, v6(&first)]);
    // Reserved since: it is for those who name it.
    write(&mut model, vec![with(vec![reservation("a", "10.0.0.77/32", None)])]);
    assert_eq!(given(&model, Had("x", vec![had]))[0], first[0]);
}

#[test]
fn addresses_are_counted_by_their_use() {
    let mut model = Model::default();
    write(&mut model, fabric());
    let reserved = vec![reservation("low", "10.0.0.0/28", None), reservation("db", "10.0.0.255/32", Some("db"))];
    let used = |model: &Model| {
        let (_, found, rest) = model
            .utilization(&name("tenants/mairie/networks/net/subnets/v4"), &|_: &PortName, _: IpAddr| false)
            .unwrap();
        assert_eq!((found.addresses, found.usable, rest.addresses), (256, 253, 0));
        (found.used, found.reserved(), found.pool())
    };
    let before = used(&model);
    assert_eq!((before.1, before.2), (0, 253));
    write(&mut model, vec![with(reserved)]);
    write(&mut model, vec![port("mairie", "in", &["10.0.0.2"], None, &[]).into(), bare("out")]);
    // Of 16 the first is the subnet's own, and the second its router's; the last of all is the broadcast address.
    let in_low = 16 - 2;
    let (all, free, pool) = used(&model);
    assert_eq!((all, pool), (before.0 + 2, 253 - in_low));
    let held = model.all_in(&name("tenants/mairie/networks/net"), ResourceKind::Port).filter(|it| {
        matches!(it, Resource::Port(port) if port.addresses.iter().any(|it| name::<Prefix>("10.0.0.0/28").contains(*it)))
    });
    assert_eq!(free, in_low - held.count() as u128);
}

#[test]
fn a_full_network_is_searched_once_in_a_write() {
    let mut model = Model::default();
    write(&mut model, fabric());
    let bare = |number: usize| Resource::from(port("mairie", &format!("x{number}"), &[], None, &[]));
    let asked = std::cell::Cell::new(0_usize);
    let all_rest = |_: &PortName, _: IpAddr| {
        asked.set(asked.get() + 1);
        true
    };
    let refused = model.prepare_with((0..100).map(bare).collect(), vec![], &all_rest).unwrap_err();
    assert_eq!(refused.len(), 100, "each is told");
    assert!(asked.get() <= 256, "{} addresses were looked at, of a subnet of 256", asked.get());
}
