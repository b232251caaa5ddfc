//! Leases of addresses: what may be given to whom, and when again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{collections::BTreeMap, net::IpAddr};

use andromede_agent::pods::{
    error::PodError,
    lease::{Clock, Lease, Leases, Owner, Wish},
    overlay,
};
use andromede_model::{HostName, NetworkView, Reservation};
use andromede_proto::{
    agent::v1::{Claim, Identity, NetworkView as Told},
    v1::{Network, Port, SecurityGroup, Subnet},
};
use proptest::prelude::*;

const NETWORK: &str = "tenants/t/networks/n";
const QUARANTINE: u64 = 30;

fn host() -> HostName {
    "hosts/h1".parse().unwrap()
}

/// A network with subnets: those whose id begins with "own" are leased to `hosts/h1`.
fn view(subnets: &[(&str, &str)], ports: Vec<Port>) -> NetworkView {
    let subnet = |(id, cidr): &(&str, &str)| Subnet {
        name: format!("{NETWORK}/subnets/{id}"),
        cidr: (*cidr).to_owned(),
        host: if id.starts_with("own") { "hosts/h1" } else { "hosts/h2" }.to_owned(),
        ..Subnet::default()
    };
    let group = |id: &str| format!("{NETWORK}/securityGroups/{id}");
    let told = Told {
        network: Some(Network { name: NETWORK.to_owned(), vni: 100, index: 1, ..Network::default() }),
        subnets: subnets.iter().map(subnet).collect(),
        ports,
        security_groups: ["web", "db"].map(|id| SecurityGroup { name: group(id), ..SecurityGroup::default() }).into(),
        identities: vec![Identity { number: 7, security_groups: vec![group("web")] }],
        ..Told::default()
    };
    told.try_into().unwrap()
}

fn owner(container: &str) -> Owner {
    Owner { container: container.to_owned(), interface: "eth0".to_owned(), configuration: "pods".to_owned() }
}

fn wish(group: &str) -> Wish {
    Wish { groups: [format!("{NETWORK}/securityGroups/{group}").parse().unwrap()].into(), ..Wish::default() }
}

fn at(now: u64) -> Clock {
    Clock { now, quarantine: QUARANTINE }
}

fn grant(leases: &mut Leases, view: &NetworkView, container: &str, group: &str, now: u64) -> Result<Lease, PodError> {
    leases.grant(view, None, &host(), &owner(container), wish(group), at(now))
}

/// The port of a lease as the controller tells it.
fn told(lease: &Lease) -> Port {
    Port {
        name: lease.port.to_string(),
        addresses: lease.addresses.iter().map(ToString::to_string).collect(),
        mac: lease.mac.to_string(),
        host: "hosts/h1".to_owned(),
        security_groups: lease.groups.iter().map(ToString::to_string).collect(),
        identity: 7,
        revision: 5,
        ..Port::default()
    }
}

#[test]
fn addresses_come_from_own_subnets_of_each_family_and_from_the_next_one_when_one_is_full() {
    let subnets =
        [("own-a", "10.1.0.0/29"), ("own-b", "10.2.0.0/29"), ("own-v6", "fd00::/64"), ("other", "10.3.0.0/24")];
    let view = view(&subnets, vec![]);
    let mut leases = Leases::default();
    let mut given = Vec::new();
    for number in 0..10 {
        given.extend(grant(&mut leases, &view, &format!("c{number}"), "web", 0).unwrap().addresses);
    }
    let v4: Vec<String> = given.iter().filter(|address| address.is_ipv4()).map(ToString::to_string).collect();
    let expected: Vec<String> =
        [1, 2].iter().flat_map(|net| (2..7).map(move |last| format!("10.{net}.0.{last}"))).collect();
    assert_eq!(v4, expected, "neither the subnet's own, nor the router's, nor the broadcast address");
    assert_eq!(given.iter().filter(|address| address.is_ipv6()).count(), 10);
    assert!(matches!(grant(&mut leases, &view, "c10", "web", 0), Err(PodError::Exhausted { .. })));
    assert!(matches!(
        Leases::default().grant(&view, None, &"hosts/h3".parse().unwrap(), &owner("c"), wish("web"), at(0)),
        Err(PodError::NoSubnet { .. })
    ));
}

#[test]
fn an_address_rests_and_is_not_given_on_while_others_take_it_for_a_port_with_other_groups() {
    let subnets = [("own", "10.1.0.0/30")];
    let mut leases = Leases::default();
    let first = grant(&mut leases, &view(&subnets, vec![]), "c1", "web", 100).unwrap();
    assert_eq!(leases.end(&owner("c1"), at(100)).unwrap(), first);
    let ask = |leases: &mut Leases, ports: Vec<Port>, group: &str, now: u64| {
        grant(leases, &view(&subnets, ports), "c2", group, now).map(|lease| lease.addresses)
    };
    assert!(ask(&mut leases.clone(), vec![], "web", 100 + QUARANTINE - 1).is_err(), "it rests");
    assert!(ask(&mut leases.clone(), vec![], "web", 100 + QUARANTINE).is_ok());
    let later = 100 + QUARANTINE;
    assert!(ask(&mut leases.clone(), vec![told(&first)], "db", later).is_err(), "others take it for web");
    assert!(ask(&mut leases.clone(), vec![told(&first)], "web", later).is_ok(), "the same rights are no danger");
    let declared = Port { name: format!("{NETWORK}/ports/declared"), ..told(&first) };
    assert!(ask(&mut leases, vec![declared], "web", later).is_err(), "somebody wrote a port with it");
}

#[test]
fn what_is_reserved_is_given_only_to_who_asks_for_it_and_a_refusal_says_what_the_addresses_are_used_for() {
    // Of 10.1.0.2 to 10.1.0.6 two are reserved, and one is for a port.
    let mut view = view(&[("own", "10.1.0.0/29")], vec![]);
    let subnet = view.subnets.values_mut().next().unwrap();
    let reservation = |name: &str, cidr: &str, port: Option<&str>| Reservation {
        name: name.parse().unwrap(),
        cidr: cidr.parse().unwrap(),
        port: port.map(|port| format!("{NETWORK}/ports/{port}").parse().unwrap()),
        description: String::new(),
    };
    subnet.reservations = vec![reservation("vips", "10.1.0.4/31", None), reservation("db", "10.1.0.2/32", Some("db"))];
    let mut leases = Leases::default();
    let address = |lease: Lease| lease.addresses[0].to_string();
    let given = ["c1", "c2"].map(|id| address(grant(&mut leases, &view, id, "web", 100).unwrap()));
    assert_eq!(given, ["10.1.0.3", "10.1.0.6"]);
    leases.end(&owner("c2"), at(105)).unwrap();
    let full = grant(&mut leases, &view, "c3", "web", 110).unwrap_err().to_string();
    let told =
        "own (10.1.0.0/29: 1 leased, 1 rest, the next for 25 seconds, 0 known to others as used, 2 reservations)";
    assert!(full.contains(told), "{full}");
    let mut ask = |wanted: &str| {
        let wish = Wish { addresses: vec![wanted.parse().unwrap()], ..wish("web") };
        leases
            .grant(&view, None, &host(), &owner(wanted), wish, at(110))
            .map(address)
            .map_err(|error| error.to_string())
    };
    assert_eq!(ask("10.1.0.5").unwrap(), "10.1.0.5");
    assert!(ask("10.1.0.2").unwrap_err().contains("reserved for another port"));
    // The one that was given last is in a reservation by now.
    view.subnets.values_mut().next().unwrap().reservations = vec![reservation("half", "10.1.0.4/30", None)];
    assert_eq!(address(grant(&mut leases, &view, "c4", "web", 200).unwrap()), "10.1.0.2");
}

#[test]
fn what_lies_over_a_view_is_what_the_controller_has_yet_to_hear() {
    let subnets = [("own", "10.1.0.0/24")];
    let mut leases = Leases::default();
    let kept = grant(&mut leases, &view(&subnets, vec![]), "kept", "web", 0).unwrap();
    let new = grant(&mut leases, &view(&subnets, vec![]), "new", "web", 0).unwrap();
    let ended = grant(&mut leases, &view(&subnets, vec![]), "ended", "db", 0).unwrap();
    leases.end(&owner("ended"), at(0)).unwrap();
    let foreign =
        Port { name: format!("{NETWORK}/ports/declared"), addresses: vec!["10.1.0.99".into()], ..told(&kept) };
    let before = view(&subnets, vec![told(&kept), told(&ended), Port { mac: "02:00:00:00:00:01".into(), ..foreign }]);
    let mut over = before.clone();
    let covered = overlay::lay(&mut over, &host(), &leases);
    assert!(!over.ports.contains_key(&ended.port), "its lease has ended");
    assert_eq!(over.ports[&kept.port], before.ports[&kept.port], "the controller's word stands");
    assert_eq!((over.ports[&new.port].identity, over.ports.len()), (7, 3), "the identity of its groups is known");
    let mut claim = Claim::default();
    overlay::claim(&over, &covered, 10, &|_| true, &mut claim);
    let written: Vec<&str> = claim.written.iter().map(|port| port.name.as_str()).collect();
    assert_eq!((written, claim.deleted), (vec![new.port.as_str()], vec![ended.port.to_string()]));
    overlay::lift(&mut over, covered);
    assert_eq!(over, before);
}

proptest! {
    /// Any ADDs and DELs: no address is had twice, none is given again too early, the file keeps everything.
    #[test]
    fn no_address_has_two_holders_nor_one_too_early(steps in prop::collection::vec((0_u8..12, any::<bool>(), 0_u64..20), 0..120)) {
        let view = view(&[("own-a", "10.1.0.0/28"), ("own-b", "10.1.1.0/29"), ("own-v6", "fd00::/120")], vec![]);
        let mut leases = Leases::default();
        let (mut held, mut rests): (BTreeMap<IpAddr, u8>, BTreeMap<IpAddr, u64>) = Default::default();
        let mut now = 1_000;
        for (container, is_add, passed) in steps {
            now += passed;
            let name = format!("c{container}");
            if is_add && leases.get(&owner(&name)).is_none() {
                let Ok(lease) = grant(&mut leases, &view, &name, "web", now) else { continue };
                prop_assert_eq!(lease.addresses.len(), 2);
                for address in lease.addresses {
                    prop_assert_eq!(held.insert(address, container), None);
                    prop_assert!(rests.get(&address).is_none_or(|at| now - at >= QUARANTINE));
                }
            } else if !is_add {
                for address in leases.end(&owner(&name), at(now)).into_iter().flat_map(|lease| lease.addresses) {
                    prop_assert_eq!(held.remove(&address), Some(container));
                    rests.insert(address, now);
                }
            }
            let stored: Leases = serde_json::from_slice(&serde_json::to_vec(&leases).unwrap()).unwrap();
            prop_assert_eq!(&stored, &leases);
        }
    }
}

/// The cluster's own network, of which addresses stand for those of others.
fn cluster() -> NetworkView {
    let network = "tenants/cluster/networks/pods";
    let subnet = Subnet {
        name: format!("{network}/subnets/own"),
        cidr: "10.244.1.0/29".to_owned(),
        host: "hosts/h1".to_owned(),
        ..Subnet::default()
    };
    let network = Network { name: network.to_owned(), vni: 101, index: 2, ..Network::default() };
    Told { network: Some(network), subnets: vec![subnet], ..Told::default() }.try_into().unwrap()
}

#[test]
fn what_stands_for_a_container_is_a_port_of_the_other_network_and_goes_with_it() {
    let (tenant, mut cluster) = (view(&[("own", "10.0.0.0/24"), ("own-v6", "fd00::/64")], vec![]), cluster());
    let mut leases = Leases::default();
    let grant = |leases: &mut Leases, container: &str, now| {
        leases.grant(&tenant, Some(&cluster), &host(), &owner(container), wish("web"), at(now))
    };
    let leased = grant(&mut leases, "c0", 0).unwrap();
    let known = leased.infrastructure.clone().unwrap();
    let (own, known_by) = ("10.0.0.2".parse::<IpAddr>().unwrap(), "10.244.1.2".parse::<IpAddr>().unwrap());
    assert_eq!(
        (leased.addresses[0], leased.addresses.len(), leased.known_by()),
        (own, 2, &[known_by][..]),
        "one family"
    );
    assert_eq!((known.port.network(), known.port.id()), (cluster.network.name.clone(), leased.port.id()));
    for number in 1..5 {
        assert_ne!(grant(&mut leases, &format!("c{number}"), 0).unwrap().known_by(), leased.known_by());
    }
    let full = grant(&mut leases, "c5", 0);
    let Err(full @ PodError::Exhausted { .. }) = full else { panic!("there are five: {full:?}") };
    assert!(full.to_string().contains(": 5 leased, 0 rest, 0 known to others"), "{full}");
    assert!(leases.get(&owner("c5")).is_none(), "both, or nothing");
    // Stored, lost, and found again with the interface.
    let stored: Leases = serde_json::from_str(&serde_json::to_string(&leases).unwrap()).unwrap();
    assert_eq!(stored, leases);
    leases.end(&owner("c0"), at(100)).unwrap();
    assert!(grant(&mut leases, "c5", 101).is_err(), "it rests");
    assert_eq!(grant(&mut leases, "c5", 100 + QUARANTINE).unwrap().known_by(), leased.known_by());

    let covered = overlay::lay(&mut cluster, &host(), &leases);
    assert_eq!(covered.len(), 5);
    let port = cluster.ports.values().find(|port| port.addresses == [known_by]).unwrap();
    assert!(port.groups.is_empty() && port.labels.is_empty(), "nobody sends to it, and no operator knows it");
    let mut claim = Claim::default();
    overlay::claim(&cluster, &covered, 100, &|_| true, &mut claim);
    assert_eq!((claim.written.len(), claim.deleted.len()), (5, 0));
}

#[test]
fn an_owner_has_one_lease_however_often_it_asks() {
    let view = view(&[("own", "10.1.0.0/24")], vec![]);
    let mut leases = Leases::default();
    let first = grant(&mut leases, &view, "c", "web", 0).unwrap();
    assert_eq!(grant(&mut leases, &view, "c", "web", 0).unwrap(), first);
    assert_eq!(leases.iter().count(), 1);
}

#[test]
fn a_generated_ethernet_address_is_one_that_nobody_has() {
    let subnets = [("own", "10.1.0.0/24")];
    let free = grant(&mut Leases::default(), &view(&subnets, vec![]), "c", "web", 0).unwrap();
    let holder = Port { name: format!("{NETWORK}/ports/p"), addresses: vec!["10.1.0.99".into()], ..told(&free) };
    let other = grant(&mut Leases::default(), &view(&subnets, vec![holder]), "c", "web", 0).unwrap();
    assert_eq!(other.addresses, free.addresses);
    assert_ne!(other.mac, free.mac);
}

#[test]
fn what_a_newer_agent_stored_is_read() {
    let mut leases = Leases::default();
    grant(&mut leases, &view(&[("own", "10.1.0.0/24")], vec![]), "c", "web", 0).unwrap();
    let mut stored = serde_json::to_value(&leases).unwrap();
    stored["invented_later"] = 1.into();
    stored["entries"][0]["lease"]["invented_later"] = 1.into();
    stored["entries"][0]["owner"]["invented_later"] = 1.into();
    assert_eq!(serde_json::from_value::<Leases>(stored).unwrap(), leases);
}

#[test]
fn an_address_of_a_container_is_no_other_ports_to_attach() {
    let view = view(&[("own", "10.1.0.0/24")], vec![]);
    let mut leases = Leases::default();
    let lease = grant(&mut leases, &view, "c", "web", 0).unwrap();
    let declared = |network: &str, addresses: &[String]| -> andromede_model::Port {
        let name = format!("{network}/ports/declared");
        Port { name, addresses: addresses.to_vec(), mac: "02:00:00:00:00:01".to_owned(), ..Port::default() }
            .try_into()
            .unwrap()
    };
    let address = lease.addresses[0];
    let own: andromede_model::Port = told(&lease).try_into().unwrap();
    assert_eq!(overlay::holder(&leases, &own), None, "its own port");
    let taken = declared(NETWORK, &["10.1.0.200".to_owned(), address.to_string()]);
    assert_eq!(overlay::holder(&leases, &taken), Some((address, &owner("c"))));
    assert_eq!(overlay::holder(&leases, &declared(NETWORK, &["10.1.0.200".to_owned()])), None);
    assert_eq!(
        overlay::holder(&leases, &declared("tenants/t/networks/m", &[address.to_string()])),
        None,
        "of another network"
    );
    leases.end(&owner("c"), at(1));
    assert_eq!(overlay::holder(&leases, &taken), None, "the container has ended");
}
