//! A small fabric as the tables of one host: two networks with the same addresses, each with two ports here, one on
//! another host, and a prefix behind a foreign tunnel endpoint.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use andromede_abi::{
    Action, Address, CellKey, CellRow, HostConfig, HostIndex, HostRow, LocationKey, LocationRow, Mac, MemberKey,
    MemberRow, NetworkIndex, NetworkRow, PolicyPrefixKey, PolicySet, PortLimits, PortRow, PrefixClasses, PrefixKey,
    Prefixed, ServiceClasses, ServiceKey, Slot, Timeouts, ZoneSet, feature, location_flag, location_kind, member_flag,
    meter_place, pair, port_flag, remote_level, rule, service_level,
};
use andromede_pipeline::memory::Tables;

use crate::oracle::{RULES, Rule};

/// Both networks of the fabric.
pub(crate) const NETWORKS: [NetworkIndex; 2] = [1, 2];
/// This host, another one, and the foreign tunnel endpoint.
pub(crate) const HERE: HostIndex = 1;
pub(crate) const ELSEWHERE: HostIndex = 2;
pub(crate) const FOREIGN: HostIndex = 3;
/// The only compiled set: every port's ingress rules.
const SET: PolicySet = 1;
/// UDP port of the tunnel.
pub(crate) const VXLAN_PORT: u16 = 4789;
/// Last byte of the addresses: two ports here, one elsewhere, one behind the foreign endpoint, the router, nobody.
pub(crate) const ENDS: [u8; 6] = [1, 2, 3, 4, 254, 77];

/// Address of a host's tunnel endpoint; 9 is a stranger's.
pub(crate) fn underlay(host: HostIndex) -> Address {
    Ipv4Addr::new(192, 0, 2, host as u8).into()
}

/// Name of a network on the wire.
pub(crate) const fn vni(network: NetworkIndex) -> u32 {
    network * 100
}

/// Address of an end of a network, the same in both.
pub(crate) fn address(v6: bool, end: u8) -> Address {
    let ip: IpAddr = if v6 {
        Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, u16::from(end)).into()
    } else {
        Ipv4Addr::new(10, 0, 0, end).into()
    };
    ip.into()
}

/// Ethernet address of an end.
pub(crate) const fn mac(network: NetworkIndex, end: u8) -> Mac {
    [2, 0, 0, 0, network as u8, end]
}

/// Interface of a port of this host.
pub(crate) const fn ifindex(network: NetworkIndex, end: u8) -> u32 {
    network * 10 + end as u32
}

/// The word in `epochs` of an end, or with end 0 of the network itself.
pub(crate) const fn slot(network: NetworkIndex, end: u8) -> Slot {
    network * 16 + end as u32 % 16
}

/// What the programs know of their host.
pub(crate) fn host() -> HostConfig {
    HostConfig {
        host: HERE,
        underlay_v4: underlay(HERE).v4_word(),
        underlay_ifindex: 2,
        overlay_ifindex: 3,
        vxlan_port: VXLAN_PORT.to_be(),
        underlay_mac: [2, 0, 0, 0, 0, HERE as u8],
        features: feature::DECAP_L3,
        underlay_mtu: 1500,
    }
}

/// The tables, with room for a few connections only, so that a full table is met.
pub(crate) fn tables() -> Tables {
    let mut tables = Tables { flows_max: 6, ..Tables::default() };
    for host in [ELSEWHERE, FOREIGN] {
        let row = HostRow {
            owner: HostRow::owner_of(host),
            underlay: underlay(host),
            gateway: underlay(host),
            ifindex: 2,
            zone: 0,
            key_id: 0,
            place: u32::from(if host == FOREIGN { meter_place::OUTSIDE_SENT } else { meter_place::SAME_ZONE }),
        };
        tables.hosts.insert(host, row);
    }
    for network in NETWORKS {
        add_network(&mut tables, network);
    }
    for (place, compiled) in RULES.iter().enumerate() {
        add_rule(&mut tables, place, compiled);
    }
    tables
}

fn add_network(tables: &mut Tables, network: NetworkIndex) {
    let row = NetworkRow {
        owner: NetworkRow::owner_of(network),
        tenant: network,
        network_slot: slot(network, 0),
        flags: 0,
        meter: network as u16,
        timeouts: Timeouts::DEFAULT,
        tenant_flows: 0,
        zones: ZoneSet::NONE,
    };
    tables.networks.insert(network, row);
    for end in [1, 2] {
        tables.ports.insert(ifindex(network, end), port(network, end));
    }
    for v6 in [false, true] {
        for (end, host, kind) in [
            (1, HERE, location_kind::PORT),
            (2, HERE, location_kind::PORT),
            (3, ELSEWHERE, location_kind::PORT),
            (4, FOREIGN, location_kind::VTEP),
            (254, 0, location_kind::GATEWAY),
        ] {
            let key = LocationKey { network, address: address(v6, end) };
            let row = location(network, end, host, kind, &key);
            if kind == location_kind::VTEP {
                let data = PrefixKey { network, address: key.address, reserved: 0 };
                tables.prefixes.insert(Prefixed { length: 32 + 128, data }, row);
            } else {
                tables.locations.insert(key, row);
            }
        }
    }
    for (host, flags) in [(ELSEWHERE, 0), (FOREIGN, member_flag::VTEP)] {
        let key = MemberKey { vni: vni(network), underlay: underlay(host) };
        let row = MemberRow {
            owner: MemberRow::owner_of(&key),
            network,
            host,
            network_slot: slot(network, 0),
            zone: 0,
            flags,
            reserved: [0; 3],
        };
        tables.members.insert(key, row);
    }
}

fn port(network: NetworkIndex, end: u8) -> PortRow {
    PortRow {
        owner: PortRow::owner_of(ifindex(network, end), network),
        network,
        vni: vni(network),
        slot: slot(network, end),
        network_slot: slot(network, 0),
        identity: 0,
        ifindex: ifindex(network, end),
        egress_set: 0,
        ingress_set: SET,
        tenant: 0,
        zone: 0,
        mac: mac(network, end),
        flags: port_flag::EGRESS_DEFAULT_ALLOW,
        v4: address(false, end).v4_word(),
        epoch: 0,
        v6: address(true, end),
        limits: PortLimits::default(),
        operator_egress_set: 0,
        operator_ingress_set: 0,
        infrastructure_v4: 0,
        reserved: 0,
        infrastructure_v6: Address::UNSPECIFIED,
    }
}

fn location(network: NetworkIndex, end: u8, host: HostIndex, kind: u8, key: &LocationKey) -> LocationRow {
    LocationRow {
        owner: LocationRow::owner_of(key),
        slot: slot(network, end),
        kind,
        encapsulation: 0,
        key_id: 0,
        flags: if host == HERE { location_flag::LOCAL } else { 0 },
        host,
        alternate_host: 0,
        zone: 0,
        identity: 0,
        ifindex: if host == HERE { ifindex(network, end) } else { 0 },
        mac: mac(network, end),
        reserved0: 0,
        epoch: 0,
        reserved: [0; 4],
    }
}

/// A rule's place in the compiled set. Each pair of protocol and port is a service class, each remote a remote class; no
/// two of the fabric's rules overlap otherwise, so that one cell is enough for each.
fn add_rule(tables: &mut Tables, place: usize, compiled: &Rule) {
    let key = ServiceKey { set: SET, protocol: u16::from(compiled.protocol).to_be(), port: compiled.port.to_be() };
    let length = if compiled.port == 0 { 48 } else { 64 };
    let (service_level, remote_level) =
        (service_level::LEAF, compiled.remote.map_or(remote_level::ANY, |_| remote_level::LEAF));
    let service = u32::from(compiled.protocol) << 16 | u32::from(compiled.port);
    let row = ServiceClasses { inner: 0, leaf: service, pairs: 0 };
    let row = tables.policy_services.entry(Prefixed { length, data: key }).or_insert(row);
    row.pairs |= pair::bit(service_level, remote_level);
    let remote = compiled.remote.map_or(0, u32::from);
    for v6 in [false, true] {
        if let Some(end) = compiled.remote {
            let prefix = PolicyPrefixKey { set: SET, address: address(v6, end) };
            let row = PrefixClasses { top: 0, middle: 0, leaf: remote, pairs: pair::of_remote(remote_level) };
            tables.policy_prefixes.insert(Prefixed { length: 32 + 128, data: prefix }, row);
        }
    }
    let action = if compiled.allow { Action::Allow } else { Action::Deny };
    let order = place as u32;
    let row = CellRow { order, rule: rule::FIRST + order, action: action as u8, flags: 0, reserved: 0 };
    let (remote_level, service_level) = (remote_level as u16, service_level as u16);
    tables.policy_cells.insert(CellKey { set: SET, remote, service, remote_level, service_level }, row);
}

/// Closes the ingress of every port, or opens it again: the change that a security group's rules would make.
pub(crate) fn close(tables: &mut Tables, closed: bool) {
    for row in tables.ports.values_mut() {
        row.epoch = row.epoch.wrapping_add(1);
        // A set without any rule.
        row.ingress_set = if closed { 0 } else { SET };
    }
    let ports: Vec<PortRow> = tables.ports.values().copied().collect();
    for port in ports {
        for location in tables.locations.values_mut().filter(|location| location.slot == port.slot) {
            location.epoch = port.epoch;
        }
        tables.epochs.insert(port.slot, port.epoch);
    }
}
