//! Reads the rows as `abi` says that the packet path does.

use std::net::IpAddr;

use andromede_abi::{
    Action, Address, CellKey, CellRow, IdentityClassKey, LocationKey, LocationRow, MemberKey, PolicyPrefixKey,
    PrefixClasses, PrefixKey, Prefixed, ServiceClasses, ServiceKey, SourceKey, location_flag, location_kind,
    network_flag, port_flag, remote_level, service_level,
};
use andromede_plan::Rows;
use proptest::{prelude::*, sample::select};

/// What a packet is for, and from which port it comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) protocol: u8,
    /// Destination port, or ICMP type and code.
    pub(crate) port: u16,
}

/// A packet's service: near the edges of the rules.
pub(crate) fn packet() -> impl Strategy<Value = Service> {
    let port = prop_oneof![select(vec![0u16, 1, 22, 80, 81, 443, 1000, 65535]), 0u16..2300, any::<u16>()];
    prop_oneof![
        6 => (select(vec![6u8, 17, 132]), port).prop_map(|(protocol, port)| Service { protocol, port }),
        2 => (select(vec![1u8, 58]), select(vec![0u8, 3, 7, 8, 128]), 0u8..4).prop_map(|(protocol, kind, code)| Service {
            protocol,
            port: u16::from_be_bytes([kind, code]),
        }),
        1 => Just(Service { protocol: 47, port: 0 }),
    ]
}

/// The first bits of an address.
fn leading(address: Address, bits: u32) -> Address {
    let mut bytes = [0; 16];
    for (place, word) in address.0.iter().enumerate() {
        bytes[place * 4..place * 4 + 4].copy_from_slice(&word.to_ne_bytes());
    }
    let value = u128::from_be_bytes(bytes) & u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    let bytes = value.to_be_bytes();
    Address(std::array::from_fn(|place| u32::from_ne_bytes(bytes[place * 4..place * 4 + 4].try_into().unwrap())))
}

fn remote_prefix(rows: &Rows, set: u32, address: Address) -> Option<PrefixClasses> {
    (0..=128).rev().find_map(|bits| {
        let data = PolicyPrefixKey { set, address: leading(address, bits) };
        rows.policy_prefixes.get(&Prefixed { length: 32 + bits, data }).copied()
    })
}

fn service_classes(rows: &Rows, set: u32, service: Service) -> Option<ServiceClasses> {
    (0..=32).rev().find_map(|bits| {
        let whole = u32::from(service.protocol) << 16 | u32::from(service.port);
        let cut = whole & u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        let data = ServiceKey { set, protocol: ((cut >> 16) as u16).to_be(), port: (cut as u16).to_be() };
        rows.policy_services.get(&Prefixed { length: 32 + bits, data }).copied()
    })
}

/// The cell of a set that decides, if one does. Every cell of a class is read, whatever `pairs` says: that it says no too little
/// is seen where the packet path itself walks.
pub(crate) fn cell(rows: &Rows, set: u32, identity: u32, address: Address, service: Service) -> Option<CellRow> {
    let services = service_classes(rows, set, service)?;
    let of_identity = rows.policy_identities.get(&IdentityClassKey { set, identity });
    let of_prefix = remote_prefix(rows, set, address);
    let prefix = |class: fn(PrefixClasses) -> u32| of_prefix.map(class).filter(|class| *class != 0);
    let remotes = [
        (remote_level::ANY, Some(0)),
        (remote_level::IDENTITY, of_identity.map(|row| row.class)),
        (remote_level::TOP, prefix(|row| row.top)),
        (remote_level::MIDDLE, prefix(|row| row.middle)),
        (remote_level::LEAF, prefix(|row| row.leaf)),
    ];
    let services =
        [(service_level::ANY, 0), (service_level::INNER, services.inner), (service_level::LEAF, services.leaf)];
    let mut cells = Vec::new();
    for (remote_level, remote) in remotes.into_iter().filter_map(|(level, class)| Some((level as u16, class?))) {
        for (service_level, service) in services.map(|(level, class)| (level as u16, class)) {
            let key = CellKey { set, remote, service, remote_level, service_level };
            cells.extend(rows.policy_cells.get(&key).copied());
        }
    }
    cells.into_iter().min_by_key(|cell| cell.order)
}

/// The rule that decides for a port: the operator's, else the tenant's.
pub(crate) fn decide(
    rows: &Rows,
    (operator, set): (u32, u32),
    identity: u32,
    address: Address,
    service: Service,
) -> Option<CellRow> {
    let operator = cell(rows, operator, identity, address, service).filter(|cell| cell.action != Action::Pass as u8);
    operator.or_else(|| cell(rows, set, identity, address, service))
}

/// Where an address is.
pub(crate) fn locate(rows: &Rows, network: u32, address: Address) -> Option<LocationRow> {
    let exact = rows.locations.get(&LocationKey { network, address }).copied();
    exact.or_else(|| {
        (0..=128).rev().find_map(|bits| {
            let data = PrefixKey::new(network, leading(address, bits));
            rows.prefixes.get(&Prefixed { length: 32 + bits, data }).copied()
        })
    })
}

/// A flow that was let pass: where it goes, and the epochs it was judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) to_ifindex: u32,
    pub(crate) to_underlay: Address,
    pub(crate) marks: [(u32, u32); 2],
}

impl Passed {
    pub(crate) fn is_stale(&self, rows: &Rows) -> bool {
        self.marks.iter().any(|(slot, epoch)| rows.epochs.get(slot).copied().unwrap_or_default() != *epoch)
    }

    pub(crate) fn same_way(&self, other: &Self) -> bool {
        (self.to_ifindex, self.to_underlay) == (other.to_ifindex, other.to_underlay)
    }
}

fn allows(cell: Option<CellRow>, default: bool) -> bool {
    cell.map_or(default, |cell| cell.action == Action::Allow as u8)
}

/// May the network's packets be sent to the host?
fn is_admitted(rows: &Rows, network: u32, host: u32) -> bool {
    let (Some(network), Some(host)) = (rows.networks.get(&network), rows.hosts.get(&host)) else { return false };
    let [low, high] = network.zones.0;
    let bits = u128::from(high) << 64 | u128::from(low);
    network.flags & network_flag::BOUND == 0 || (1..128).any(|zone| zone == host.zone && bits >> zone & 1 == 1)
}

fn is_odd(rows: &Rows, slot: u32) -> bool {
    rows.epochs.get(&slot).copied().unwrap_or_default() % 2 == 1
}

/// Is the change word of the one network odd?
pub(crate) fn is_changing(rows: &Rows) -> bool {
    let members = rows.members.values().map(|row| row.network_slot);
    rows.ports.values().map(|row| row.network_slot).chain(members).any(|slot| is_odd(rows, slot))
}

/// A new flow from a local workload.
pub(crate) fn outbound(rows: &Rows, ifindex: u32, from: IpAddr, to: IpAddr, service: Service) -> Option<Passed> {
    let port = rows.ports.get(&ifindex)?;
    if is_odd(rows, port.network_slot) {
        return None;
    }
    let (source, destination) = (Address::from(from), Address::from(to));
    let first = if source.is_v4() { port.v4 == source.v4_word() } else { port.v6 == source };
    let further = port.flags & port_flag::FURTHER_SOURCES != 0 && {
        let data = SourceKey { slot: port.slot, address: source };
        rows.sources.contains_key(&Prefixed { length: 160, data })
    };
    if !first && !further {
        return None;
    }
    let location = locate(rows, port.network, destination)?;
    let egress = decide(rows, (port.operator_egress_set, port.egress_set), location.identity, destination, service);
    if !allows(egress, port.flags & port_flag::EGRESS_DEFAULT_ALLOW != 0) {
        return None;
    }
    let own = locate(rows, port.network, source).filter(|own| own.slot == port.slot)?;
    let mut marks = [(port.slot, port.epoch.min(own.epoch)), (location.slot, location.epoch)];
    match location.kind {
        location_kind::PORT if location.flags & location_flag::LOCAL != 0 => {
            let peer = rows.ports.get(&location.ifindex).filter(|peer| peer.slot == location.slot)?;
            marks[1].1 = location.epoch.min(peer.epoch);
            let ingress = decide(rows, (peer.operator_ingress_set, peer.ingress_set), port.identity, source, service);
            let allowed = allows(ingress, false) && peer.network == port.network;
            allowed.then_some(Passed { to_ifindex: location.ifindex, to_underlay: Address::UNSPECIFIED, marks })
        }
        location_kind::PORT | location_kind::VTEP => {
            let host = rows.hosts.get(&location.host)?;
            is_admitted(rows, port.network, location.host).then_some(())?;
            Some(Passed { to_ifindex: 0, to_underlay: host.underlay, marks })
        }
        _ => None,
    }
}

/// A new flow from the underlay.
pub(crate) fn inbound(
    rows: &Rows,
    vni: u32,
    underlay: Address,
    from: IpAddr,
    to: IpAddr,
    service: Service,
) -> Option<Passed> {
    let member = rows.members.get(&MemberKey { vni, underlay })?;
    if is_odd(rows, member.network_slot) {
        return None;
    }
    let sender = locate(rows, member.network, from.into())?;
    // Answers would go there.
    if sender.host != member.host || !is_admitted(rows, member.network, sender.host) {
        return None;
    }
    let location = locate(rows, member.network, to.into())?;
    if location.kind != location_kind::PORT || location.flags & location_flag::LOCAL == 0 {
        return None;
    }
    let port = rows.ports.get(&location.ifindex).filter(|port| port.slot == location.slot)?;
    let ingress = decide(rows, (port.operator_ingress_set, port.ingress_set), sender.identity, from.into(), service);
    let marks = [(sender.slot, sender.epoch), (location.slot, location.epoch.min(port.epoch))];
    (allows(ingress, false) && port.network == member.network).then_some(Passed {
        to_ifindex: location.ifindex,
        to_underlay: Address::UNSPECIFIED,
        marks,
    })
}
