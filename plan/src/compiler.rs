//! One host's rows, network by network.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use andromede_abi::{
    Address, FORWARDED, HostIndex, HostRow, LocationKey, LocationRow, MemberKey, MemberRow, NetworkRow, PolicySet,
    PortRow, PrefixKey, Prefixed, Slot, SourceKey, encapsulation, location_flag, location_kind, maps, member_flag,
    meter_place, port_flag,
};
use andromede_model::{AnyName, Direction, GATEWAY_MAC, NetworkView, Port, PortName, Prefix, SecurityGroupName, Vtep};

use crate::{
    Attachment, Attachments, HostFacts, TooLarge, Wanted,
    budgets::{self, Sharers},
    network::network_row,
    policy::{self, Cache, Content, Sets},
    rows::prefix_length,
    slots::Slots,
};

/// The compiler at work.
pub(crate) struct Compiler<'a> {
    pub(crate) facts: &'a HostFacts,
    pub(crate) attachments: &'a Attachments,
    /// The ports that stand for workloads of other networks.
    pub(crate) infrastructure: BTreeSet<&'a PortName>,
    pub(crate) slots: Slots<'a>,
    pub(crate) sharers: &'a Sharers,
    pub(crate) sets: Sets,
    pub(crate) cache: &'a mut Cache,
    pub(crate) wanted: Wanted,
}

/// Another host, or a foreign tunnel endpoint, of a network.
#[derive(Clone, Copy)]
struct Endpoint {
    index: HostIndex,
    underlay: Ipv4Addr,
    /// Number of its zone; 0: none.
    zone: u32,
    /// See [`member_flag`].
    flags: u32,
}

/// Compiled sets of one network, by groups: egress and ingress.
type NetworkSets<'a> = BTreeMap<&'a BTreeSet<SecurityGroupName>, (PolicySet, PolicySet)>;

/// The rules that the ports of one network are judged by.
#[derive(Default)]
struct NetworkRules<'a> {
    of_operator: (PolicySet, PolicySet),
    of_groups: NetworkSets<'a>,
}

/// No slot is left.
fn full(slot: Option<Slot>) -> Result<Slot, TooLarge> {
    let (table, most) = (maps::EPOCHS.name, maps::EPOCHS.rows);
    slot.ok_or(TooLarge { table, rows: most as usize + 1, most })
}

impl<'a> Compiler<'a> {
    /// The slots that ports of the network have already.
    pub(crate) fn known_slots(&mut self, view: &'a NetworkView) -> BTreeMap<&'a PortName, Slot> {
        let network = view.network.index;
        let slots = &mut self.slots;
        let known = |port: &'a Port| Some((&port.name, slots.known_port(network, port.mac.bytes())?));
        view.ports.values().filter_map(known).collect()
    }

    /// All rows of one network.
    pub(crate) fn network(&mut self, view: &'a NetworkView, known: &BTreeMap<&PortName, Slot>) -> Result<(), TooLarge> {
        let network_slot = full(self.slots.network(view.network.index))?;
        let name = &view.network.name;
        self.wanted.network_slots.insert(name.clone(), network_slot);
        self.wanted.names.networks.insert(view.network.index, name.clone());
        let groups = view.groups.values().map(|group| (AnyName::from(group.name.clone()), &group.rules));
        let policies =
            view.operator_policies.values().map(|policy| (AnyName::from(policy.name.clone()), &policy.rules));
        for (owner, rules) in groups.chain(policies) {
            let rules = rules.iter().map(|rule| (rule.number, (owner.clone(), rule.name.clone())));
            self.wanted.names.rules.extend(rules);
        }
        let row = NetworkRow {
            meter: self.facts.meters.get(&view.network.index).copied().unwrap_or_default(),
            ..network_row(view, network_slot, self.sharers.tenant_flows(view.network.tenant_index))
        };
        self.wanted.rows.networks.insert(view.network.index, row);
        for host in view.hosts.values().filter(|host| host.index != self.facts.host) {
            let zone = host.zone_index;
            self.endpoint(view, Endpoint { index: host.index, underlay: host.underlay, zone, flags: 0 }, network_slot);
        }
        for vtep in view.vteps.values() {
            let (underlay, zone) = (vtep.underlay, vtep.zone_index);
            let endpoint = Endpoint { index: vtep.index, underlay, zone, flags: member_flag::VTEP };
            self.endpoint(view, endpoint, network_slot);
            self.vtep(view, vtep)?;
        }
        self.shield_v4(view)?;
        let mut rules = NetworkRules { of_operator: self.operator_sets(view)?, ..NetworkRules::default() };
        for port in view.ports.values() {
            let addresses: Vec<Address> = port.addresses.iter().copied().map(Into::into).collect();
            let slot = known.get(&port.name).copied();
            let slot = full(slot.or_else(|| self.slots.port(view.network.index, &addresses)))?;
            self.port(view, port, slot, network_slot, &mut rules)?;
        }
        for subnet in view.subnets.values() {
            self.gateway(view, subnet.gateway)?;
        }
        let has_pods = view.ports.keys().any(|port| self.attachments.get(port).is_some_and(|workload| workload.node));
        if has_pods { self.node(view) } else { Ok(()) }
    }

    /// Another host, or a foreign tunnel endpoint: how to reach it, and that it may send into the network.
    fn endpoint(&mut self, view: &NetworkView, endpoint: Endpoint, network_slot: Slot) {
        let Endpoint { index: host, underlay, zone, flags } = endpoint;
        let gateway = self.facts.gateways.get(&underlay).copied().unwrap_or(underlay);
        // All networks share the row. If they disagree about the zone, it is none: networks that are bound send nothing there.
        let zone = match self.wanted.rows.hosts.get(&host) {
            Some(known) if known.zone != zone => 0,
            _ => zone,
        };
        let row = HostRow {
            owner: HostRow::owner_of(host),
            underlay: underlay.into(),
            gateway: gateway.into(),
            ifindex: self.facts.underlay_ifindex,
            zone,
            key_id: 0,
            place: place(view, self.facts.host, zone, flags).into(),
        };
        self.wanted.rows.hosts.insert(host, row);
        let key = MemberKey { vni: view.network.vni.get(), underlay: underlay.into() };
        let row = MemberRow {
            owner: MemberRow::owner_of(&key),
            network: view.network.index,
            host,
            network_slot,
            zone,
            flags,
            reserved: [0; 3],
        };
        self.wanted.rows.members.insert(key, row);
    }

    /// The prefixes behind a foreign tunnel endpoint.
    fn vtep(&mut self, view: &NetworkView, vtep: &Vtep) -> Result<(), TooLarge> {
        for prefix in &vtep.prefixes {
            let key = prefix_key(view, *prefix);
            let row = LocationRow {
                slot: full(self.slots.prefix(&key))?,
                kind: location_kind::VTEP,
                host: vtep.index,
                mac: vtep.mac.bytes(),
                ..location(&LocationKey { network: key.data.network, address: key.data.address })
            };
            self.wanted.rows.prefixes.insert(key, row);
        }
        Ok(())
    }

    /// IPv4 stands inside IPv6 in the table (`::ffff:0:0/96`). Where a prefix like `::/0` is around that range, a row that says
    /// "unknown" keeps it from being found for IPv4.
    fn shield_v4(&mut self, view: &NetworkView) -> Result<(), TooLarge> {
        let mapped = IpAddr::V6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());
        let around = view.vteps.values().flat_map(|vtep| &vtep.prefixes).any(|prefix| prefix.contains(mapped));
        let Ok(v4) = Prefix::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0) else { return Ok(()) };
        if around { self.prefix(view, v4, location_kind::UNKNOWN, 0) } else { Ok(()) }
    }

    /// The network's own router.
    fn gateway(&mut self, view: &NetworkView, address: IpAddr) -> Result<(), TooLarge> {
        let key = LocationKey { network: view.network.index, address: address.into() };
        let row = LocationRow {
            slot: full(self.slots.location(&key, location_kind::GATEWAY))?,
            kind: location_kind::GATEWAY,
            mac: GATEWAY_MAC.bytes(),
            ..location(&key)
        };
        self.wanted.rows.locations.entry(key).or_insert(row);
        Ok(())
    }

    /// The node itself, by all of its addresses that nobody in the network has; and what it forwards: all that is in no subnet.
    fn node(&mut self, view: &NetworkView) -> Result<(), TooLarge> {
        for address in &self.facts.addresses {
            let key = LocationKey { network: view.network.index, address: (*address).into() };
            if self.wanted.rows.locations.contains_key(&key) {
                continue;
            }
            let row = LocationRow {
                slot: full(self.slots.location(&key, location_kind::HOST))?,
                kind: location_kind::HOST,
                host: self.facts.host,
                mac: GATEWAY_MAC.bytes(),
                ..location(&key)
            };
            self.wanted.rows.locations.insert(key, row);
        }
        for subnet in view.subnets.values() {
            self.prefix(view, subnet.cidr, location_kind::UNKNOWN, 0)?;
        }
        let everything: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        for prefix in everything.into_iter().filter_map(|address| Prefix::new(address, 0).ok()) {
            self.prefix(view, prefix, location_kind::HOST, FORWARDED)?;
        }
        Ok(())
    }

    /// What lies in a prefix, unless it is known already.
    fn prefix(&mut self, view: &NetworkView, prefix: Prefix, kind: u8, host: HostIndex) -> Result<(), TooLarge> {
        let key = prefix_key(view, prefix);
        if self.wanted.rows.prefixes.contains_key(&key) {
            return Ok(());
        }
        let place = location(&LocationKey { network: key.data.network, address: key.data.address });
        let row = LocationRow { slot: full(self.slots.prefix(&key))?, kind, host, mac: GATEWAY_MAC.bytes(), ..place };
        self.wanted.rows.prefixes.insert(key, row);
        Ok(())
    }

    /// One port, here or elsewhere. A port whose host is not in the view has no place.
    fn port(
        &mut self,
        view: &'a NetworkView,
        port: &'a Port,
        slot: Slot,
        network_slot: Slot,
        rules: &mut NetworkRules<'a>,
    ) -> Result<(), TooLarge> {
        let Some(host) = port.host.as_ref().and_then(|host| view.hosts.get(host)) else { return Ok(()) };
        let local = host.index == self.facts.host;
        let attachment = self.attachments.get(&port.name).filter(|_| local);
        let stands_for_another = local && self.infrastructure.contains(&port.name);
        for address in &port.addresses {
            let key = LocationKey { network: view.network.index, address: (*address).into() };
            let row = LocationRow {
                slot,
                kind: location_kind::PORT,
                flags: if local { location_flag::LOCAL } else { 0 }
                    | if stands_for_another { location_flag::INFRASTRUCTURE } else { 0 },
                host: host.index,
                identity: port.identity,
                ifindex: attachment.map_or(0, |attachment| attachment.ifindex),
                mac: port.mac.bytes(),
                ..location(&key)
            };
            self.wanted.rows.locations.insert(key, row);
        }
        if local {
            self.wanted.slots.insert(port.name.clone(), slot);
            self.wanted.names.ports.insert(slot, port.name.clone());
        }
        let Some(attachment) = attachment else { return Ok(()) };
        let (egress_set, ingress_set) = match rules.of_groups.get(&port.groups) {
            Some(sets) => *sets,
            None => self.sets_of(view, &port.groups)?,
        };
        rules.of_groups.insert(&port.groups, (egress_set, ingress_set));
        let (operator_egress_set, operator_ingress_set) = rules.of_operator;
        let further = if self.sources(port, slot) { port_flag::FURTHER_SOURCES } else { 0 };
        let limits = self.sharers.limits(view.network.tenant_index, &port.limits);
        let (infrastructure_v4, infrastructure_v6) = known_by(attachment, port);
        let row = PortRow {
            owner: PortRow::owner_of(attachment.ifindex, view.network.index),
            network: view.network.index,
            vni: view.network.vni.get(),
            slot,
            network_slot,
            identity: port.identity,
            ifindex: attachment.ifindex,
            egress_set,
            ingress_set,
            tenant: view.network.tenant_index,
            zone: host.zone_index,
            mac: port.mac.bytes(),
            flags: port_flag::EGRESS_DEFAULT_ALLOW | budgets::policed(&limits) | further | flags_of(attachment),
            v4: first_v4(port),
            epoch: 0,
            v6: first_v6(port),
            limits,
            operator_egress_set,
            operator_ingress_set,
            infrastructure_v4,
            reserved: 0,
            infrastructure_v6,
        };
        self.wanted.rows.ports.insert(attachment.ifindex, row);
        Ok(())
    }

    /// The addresses of a port behind the first of each family; are there any?
    fn sources(&mut self, port: &Port, slot: Slot) -> bool {
        let v4 = port.addresses.iter().filter(|address| address.is_ipv4()).skip(1);
        let v6 = port.addresses.iter().filter(|address| address.is_ipv6()).skip(1);
        let further: Vec<Address> = v4.chain(v6).copied().map(Address::from).collect();
        for address in &further {
            let data = SourceKey { slot, address: *address };
            self.wanted.rows.sources.insert(Prefixed { length: prefix_length(128, false), data }, 1);
        }
        !further.is_empty()
    }

    /// The compiled sets of ports that have these groups.
    fn sets_of(
        &mut self,
        view: &NetworkView,
        groups: &BTreeSet<SecurityGroupName>,
    ) -> Result<(PolicySet, PolicySet), TooLarge> {
        let mut of = |direction: Direction| {
            let rules = policy::of_groups(view, groups, direction);
            let owner = (view.network.index, Some(groups.clone()), direction);
            let content: Content = self.cache.compile(owner, &rules, &view.identities)?;
            Ok(self.sets.number(content, &view.identities, &mut self.wanted.rows))
        };
        Ok((of(Direction::Egress)?, of(Direction::Ingress)?))
    }

    /// The compiled sets of the operator's policies that concern the network. Networks that the same concern share them.
    fn operator_sets(&mut self, view: &NetworkView) -> Result<(PolicySet, PolicySet), TooLarge> {
        let mut of = |direction: Direction| {
            let rules = policy::of_operator(view.operator_policies.values(), direction);
            let owner = (view.network.index, None, direction);
            let content: Content = self.cache.compile(owner, &rules, &BTreeMap::new())?;
            Ok(self.sets.number(content, &BTreeMap::new(), &mut self.wanted.rows))
        };
        Ok((of(Direction::Egress)?, of(Direction::Ingress)?))
    }
}

/// The key of a prefix of a network.
fn prefix_key(view: &NetworkView, prefix: Prefix) -> Prefixed<PrefixKey> {
    Prefixed {
        length: prefix_length(prefix.length(), prefix.is_ipv4()),
        data: PrefixKey::new(view.network.index, prefix.address().into()),
    }
}

/// A location of which only the place is known.
fn location(key: &LocationKey) -> LocationRow {
    LocationRow { owner: LocationRow::owner_of(key), encapsulation: encapsulation::VXLAN_V4, ..LocationRow::UNKNOWN }
}

/// What packets to another host, in this zone, or to a foreign tunnel endpoint count to. Hosts without a zone are in one.
fn place(view: &NetworkView, here: HostIndex, zone: u32, flags: u32) -> u8 {
    let own = view.hosts.values().find(|host| host.index == here).map_or(0, |host| host.zone_index);
    if flags & member_flag::VTEP != 0 {
        meter_place::OUTSIDE_SENT
    } else if own == zone {
        meter_place::SAME_ZONE
    } else {
        meter_place::OTHER_ZONE
    }
}

/// What holds for a port by how its workload is attached.
const fn flags_of(attachment: &Attachment) -> u16 {
    (if attachment.tap { port_flag::TAP } else { 0 })
        | (if attachment.node { port_flag::NODE_ADMITTED } else { 0 })
        | (if attachment.infrastructure.is_some() { port_flag::TRANSLATED } else { 0 })
}

/// The infrastructure addresses of a workload: IPv4 as it stands in a header, 0 if there is none, and IPv6, unspecified if there is none.
/// None for a family of which the workload has no address itself.
fn known_by(attachment: &Attachment, port: &Port) -> (u32, Address) {
    let Some(infrastructure) = &attachment.infrastructure else { return (0, Address::UNSPECIFIED) };
    let v4 = infrastructure.v4.filter(|_| first_v4(port) != 0).map_or(0, |v4| Address::from(v4).v4_word());
    let v6 = infrastructure.v6.filter(|_| first_v6(port) != Address::UNSPECIFIED);
    (v4, v6.map_or(Address::UNSPECIFIED, Address::from))
}

/// The main IPv4 address as it stands in a header; 0 if there is none.
fn first_v4(port: &Port) -> u32 {
    let first = port.addresses.iter().find(|address| address.is_ipv4());
    first.map(|address| Address::from(*address).v4_word()).unwrap_or_default()
}

/// The main IPv6 address; unspecified if there is none.
fn first_v6(port: &Port) -> Address {
    let first = port.addresses.iter().find(|address| address.is_ipv6());
    first.map_or(Address::UNSPECIFIED, |address| Address::from(*address))
}
