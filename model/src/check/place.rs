//! Place is law: nothing of a network stands where the network may not be.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    AnyName, HostName, Model, NetworkName, Port, Residency, Subnet, Vtep, Zone, ZoneName,
    draft::{Draft, Touched},
    limits,
    residency::Law,
    state::NetworkState,
};

/// Checks the zones of a write, what it says of places, and that whatever it moves stands where it may.
pub(super) fn check(draft: &mut Draft<'_>, touched: &BTreeMap<NetworkName, Touched>) {
    if let Some(name) = draft.zones.first().filter(|_| draft.after.zones.len() > limits::ZONES).cloned() {
        let rule = format!("a fabric has at most {} zones", limits::ZONES);
        draft.refuse(name.clone(), "name", name, rule, "delete zones that are not needed");
    }
    references(draft, touched);
    residencies(draft, touched);
    let moved = Moved::of(draft, touched);
    // Most writes move nothing but what they write, and most networks are not bound.
    let networks: BTreeSet<NetworkName> = if moved.all {
        draft.after.networks.keys().cloned().collect()
    } else {
        touched.keys().chain(&moved.networks).cloned().collect()
    };
    let after = draft.after.clone();
    for name in networks {
        let Some(state) = draft.state(&name) else { continue };
        let law = after.law(&state.network);
        if law.is_bound() {
            let whole = moved.all || moved.networks.contains(&name);
            let outside = outside(&after, &state, law, touched.get(&name).filter(|_| !whole));
            refuse(draft, &state, law, outside);
        }
    }
}

/// Refuses zones that are named and are not there.
fn references(draft: &mut Draft<'_>, touched: &BTreeMap<NetworkName, Touched>) {
    let mut named: Vec<(AnyName, String, ZoneName)> = Vec::new();
    for name in &draft.hosts {
        let zone = draft.after.hosts.get(name).and_then(|host| host.zone.clone());
        named.extend(zone.map(|zone| (name.clone().into(), "zone".to_owned(), zone)));
    }
    let vteps = touched.values().flat_map(|touched| &touched.vteps);
    for name in vteps {
        let state = draft.after.networks.get(&name.network());
        let zone = state.and_then(|state| state.vteps.get(name)).and_then(|vtep| vtep.zone.clone());
        named.extend(zone.map(|zone| (name.clone().into(), "zone".to_owned(), zone)));
    }
    for (name, residency) in written_residencies(&draft.after, draft, touched) {
        let zones = residency.zones.iter().enumerate();
        named.extend(zones.map(|(place, zone)| (name.clone(), format!("residency.zones[{place}]"), zone.clone())));
    }
    for (name, field, zone) in named {
        if !draft.after.zones.contains_key(&zone) && !draft.deleted.contains_key(&zone.clone().into()) {
            let fix = "write the zone in the same call, or correct the name";
            draft.refuse(name, &field, zone, "there is no such zone", fix);
        }
    }
}

/// What the tenants and networks of the write say of places.
fn written_residencies(
    model: &Model,
    draft: &Draft<'_>,
    touched: &BTreeMap<NetworkName, Touched>,
) -> Vec<(AnyName, Residency)> {
    let tenants = draft.tenants.iter().filter_map(|name| model.tenants.get(name));
    let tenants = tenants.map(|tenant| (tenant.name.clone().into(), tenant.residency.clone()));
    let networks = touched.iter().filter(|(_, touched)| touched.network).filter_map(|(name, _)| model.network(name));
    tenants.chain(networks.map(|network| (network.name.clone().into(), network.residency.clone()))).collect()
}

/// Refuses lists that are too long, and networks that name what their tenant does not.
fn residencies(draft: &mut Draft<'_>, touched: &BTreeMap<NetworkName, Touched>) {
    for (name, residency) in written_residencies(&draft.after, draft, touched) {
        let Residency { jurisdictions, operators, zones } = &residency;
        let lists = [("jurisdictions", jurisdictions.len()), ("operators", operators.len()), ("zones", zones.len())];
        for (field, number) in lists {
            if number > limits::PLACES_PER_RESIDENCY {
                let rule = format!("a residency names at most {} {field}", limits::PLACES_PER_RESIDENCY);
                draft.refuse(name.clone(), &format!("residency.{field}"), number, rule, "name fewer");
            }
        }
    }
    let after = draft.after.clone();
    let written = touched.iter().filter(|(_, touched)| touched.network).map(|(name, _)| name.clone());
    let of_tenants = draft.tenants.iter().flat_map(|tenant| after.states_of(tenant)).map(|state| state.name().clone());
    let names: BTreeSet<NetworkName> = written.chain(of_tenants).collect();
    for name in names {
        let Some(network) = after.network(&name) else { continue };
        let Some(tenant) = after.tenants.get(&name.tenant()) else { continue };
        let (wide, narrow) = (&tenant.residency, &network.residency);
        let strays = [
            ("jurisdictions", stray(&wide.jurisdictions, &narrow.jurisdictions)),
            ("operators", stray(&wide.operators, &narrow.operators)),
            ("zones", stray(&wide.zones, &narrow.zones)),
        ];
        for (field, value) in strays {
            let Some(value) = value else { continue };
            let rule = format!("a network narrows where its tenant may be; {} does not name {value}", tenant.name);
            if draft.is_written(&name.clone().into()) {
                let fix = "leave it out, or ask an operator to let the tenant be there";
                draft.refuse(name.clone(), &format!("residency.{field}"), value, rule, fix);
            } else {
                let (field, fix) = (format!("residency.{field}"), format!("take {value} out of {name} first"));
                draft.refuse_around(&tenant.name.clone().into(), &field, &name.clone().into(), rule, fix);
            }
        }
    }
}

/// What the narrower list names and the wider one does not, if that names anything.
fn stray<T: Ord + ToString>(wide: &BTreeSet<T>, narrow: &BTreeSet<T>) -> Option<String> {
    narrow.iter().find(|item| !wide.is_empty() && !wide.contains(*item)).map(ToString::to_string)
}

/// What may stand elsewhere, or under another law, although it is not written itself.
struct Moved {
    /// Anything, in any network.
    all: bool,
    /// What is in these networks.
    networks: BTreeSet<NetworkName>,
}

impl Moved {
    fn of(draft: &Draft<'_>, touched: &BTreeMap<NetworkName, Touched>) -> Self {
        let all = draft.zones.iter().any(|zone| changed_zone(draft, zone))
            || draft.hosts.iter().any(|host| moved(draft, host));
        let (before, after) = (draft.before, &draft.after);
        let tenants = draft.tenants.iter().filter(|name| {
            let of = |model: &Model| model.tenants.get(name).map(|tenant| tenant.residency.clone());
            of(before) != of(after)
        });
        let networks = touched.iter().filter(|(name, touched)| {
            let of = |model: &Model| model.network(name).map(|network| network.residency.clone());
            touched.network && of(before) != of(after)
        });
        let of_tenants = tenants.flat_map(|tenant| after.states_of(tenant)).map(|state| state.name().clone());
        Self { all, networks: networks.map(|(name, _)| name.clone()).chain(of_tenants).collect() }
    }
}

/// Does the write change the law of a zone that was there?
fn changed_zone(draft: &Draft<'_>, zone: &ZoneName) -> bool {
    let of = |model: &Model| model.zones.get(zone).map(|zone| (zone.jurisdiction.clone(), zone.operator.clone()));
    let before = of(draft.before);
    before.is_some() && before != of(&draft.after)
}

/// Does the write put a host that was there into another zone?
fn moved(draft: &Draft<'_>, host: &HostName) -> bool {
    let of = |model: &Model| model.hosts.get(host).map(|host| host.zone.clone());
    let before = of(draft.before);
    before.is_some() && before != of(&draft.after)
}

/// Something that stands where its network may not be.
struct Outside {
    /// A port, a leased subnet or a foreign endpoint.
    name: AnyName,
    /// The host that it is on; none: it has a zone of its own.
    host: Option<HostName>,
    zone: Option<Zone>,
}

/// What stands where the network may not be: of what the write touches, or of all.
fn outside(model: &Model, state: &NetworkState, law: Law<'_>, touched: Option<&Touched>) -> Vec<Outside> {
    let zone = |zone: Option<&ZoneName>| zone.and_then(|zone| model.zones.get(zone));
    let on = |name: &dyn Fn() -> AnyName, host: Option<&HostName>| {
        let host = model.hosts.get(host?)?;
        let zone = zone(host.zone.as_ref());
        (!law.admits(zone)).then(|| Outside { name: name(), host: Some(host.name.clone()), zone: zone.cloned() })
    };
    let port = |port: &Port| on(&|| port.name.clone().into(), port.host.as_ref());
    let subnet = |subnet: &Subnet| on(&|| subnet.name.clone().into(), subnet.host.as_ref());
    let vtep = |vtep: &Vtep| {
        let zone = zone(vtep.zone.as_ref());
        (!law.admits(zone)).then(|| Outside { name: vtep.name.clone().into(), host: None, zone: zone.cloned() })
    };
    let mut outside = Vec::new();
    if let Some(touched) = touched {
        outside.extend(touched.ports.iter().filter_map(|name| port(state.ports.get(name)?)));
        outside.extend(touched.subnets.iter().filter_map(|name| subnet(state.subnets.get(name)?)));
        outside.extend(touched.vteps.iter().filter_map(|name| vtep(state.vteps.get(name)?)));
    } else {
        outside.extend(state.ports.values().filter_map(|it| port(it)));
        outside.extend(state.subnets.values().filter_map(subnet));
        outside.extend(state.vteps.values().filter_map(|it| vtep(it)));
    }
    outside
}

/// Refuses what stands outside: at itself, if the write puts it there; otherwise at what the write changes around it, once for each.
fn refuse(draft: &mut Draft<'_>, state: &NetworkState, law: Law<'_>, outside: Vec<Outside>) {
    let mut around: BTreeMap<(AnyName, &'static str), Vec<Outside>> = BTreeMap::new();
    for it in outside {
        if !is_put(draft, &it) {
            around.entry(cause(draft, state, &it)).or_default().push(it);
            continue;
        }
        let rule = format!("{} may be only in {law}; {}", state.name(), it.place());
        let zone = it.zone.as_ref().map(|zone| zone.name.to_string()).unwrap_or_default();
        if let Some(host) = &it.host {
            draft.refuse(it.name.clone(), "host", host, rule, "choose a host of a zone where it may be");
        } else {
            draft.refuse(it.name.clone(), "zone", zone, rule, "say in which zone it stands: one where it may be");
        }
    }
    for ((name, field), standing) in around {
        let Some(first) = standing.first() else { continue };
        let more = match standing.len() {
            1 => String::new(),
            many => format!(" (and {} more)", many - 1),
        };
        let rule = format!("{} may be only in {law}; {}{more}", state.name(), first.place());
        let fix = "move or delete what stands outside first";
        draft.refuse_around(&name, field, &first.name, rule, fix);
    }
}

/// Does the write itself put it where it stands?
fn is_put(draft: &Draft<'_>, it: &Outside) -> bool {
    let of = |model: &Model| match &it.name {
        AnyName::Port(name) => model.port(name).and_then(|port| port.host.as_ref()).map(ToString::to_string),
        AnyName::Subnet(name) => {
            let state = model.networks.get(&name.network());
            let subnet = state.and_then(|state| state.subnets.get(name));
            subnet.and_then(|subnet| subnet.host.as_ref()).map(ToString::to_string)
        }
        AnyName::Vtep(name) => {
            let vtep = model.networks.get(&name.network()).and_then(|state| state.vteps.get(name));
            vtep.map(|vtep| vtep.zone.as_ref().map(ToString::to_string).unwrap_or_default())
        }
        _ => None,
    };
    draft.is_written(&it.name) && of(draft.before) != of(&draft.after)
}

/// What the write changes around something: the host's zone, the zone's law, or the law of the tenant or the network.
fn cause(draft: &Draft<'_>, state: &NetworkState, it: &Outside) -> (AnyName, &'static str) {
    if let Some(host) = it.host.as_ref().filter(|host| draft.hosts.contains(host) && moved(draft, host)) {
        return (host.clone().into(), "zone");
    }
    if let Some(zone) =
        it.zone.as_ref().filter(|zone| draft.zones.contains(&zone.name) && changed_zone(draft, &zone.name))
    {
        let before = draft.before.zones.get(&zone.name).map(|before| &before.jurisdiction);
        let field = if before == Some(&zone.jurisdiction) { "operator" } else { "jurisdiction" };
        return (zone.name.clone().into(), field);
    }
    let network = &state.network;
    if draft.is_written(&network.name.clone().into()) {
        return (network.name.clone().into(), "residency");
    }
    (network.name.tenant().into(), "residency")
}

impl Outside {
    /// Where it stands, for people.
    fn place(&self) -> String {
        let zone = self.zone.as_ref().map_or_else(
            || "in no zone".to_owned(),
            |zone| format!("in {} (jurisdiction {}, operator {})", zone.name, zone.jurisdiction, zone.operator),
        );
        match &self.host {
            Some(host) => format!("{host} is {zone}"),
            None => format!("{} is {zone}", self.name),
        }
    }
}

/// Adds, for each deleted zone, what still names it.
pub(super) fn users_of_deleted(draft: &Draft<'_>, users: &mut BTreeMap<AnyName, AnyName>) {
    let deleted: BTreeSet<&AnyName> = draft.deleted.keys().filter(|name| matches!(name, AnyName::Zone(_))).collect();
    if deleted.is_empty() {
        return;
    }
    let model = &draft.after;
    let hosts = model.hosts.values().flat_map(|host| host.zone.iter().map(|zone| (zone, host.name.clone().into())));
    let tenants = (model.tenants.values())
        .flat_map(|tenant| tenant.residency.zones.iter().map(|zone| (zone, tenant.name.clone().into())));
    let networks = (model.networks.values().map(|state| &state.network))
        .flat_map(|network| network.residency.zones.iter().map(|zone| (zone, network.name.clone().into())));
    let vteps = (model.networks.values().flat_map(|state| state.vteps.values()))
        .flat_map(|vtep| vtep.zone.iter().map(|zone| (zone, vtep.name.clone().into())));
    for (zone, user) in hosts.chain(tenants).chain(networks).chain(vteps) {
        let zone = AnyName::from(zone.clone());
        if deleted.contains(&zone) {
            users.entry(zone).or_insert(user);
        }
    }
}
