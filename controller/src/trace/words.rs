//! Lookups in words.

use std::collections::BTreeSet;

use andromede_abi::{
    Action, Address, CellKey, CellRow, FlowKey, FlowRow, HostRow, LocationRow, MemberKey, MemberRow, PolicySet,
    PortRow, Stage, hook, location_flag, location_kind, maps, remote_level,
};
use andromede_model::MacAddress;
use andromede_proto::v1::TraceStep;

use super::{
    names::{Names, service},
    recorder::Lookup,
};

/// Tells what happens on one host.
pub(super) struct Narrator<'a> {
    names: &'a Names,
    host: String,
    hook: u8,
    /// Sets of egress rules of the ports that were read.
    egress: BTreeSet<PolicySet>,
    /// The network's word in the table of epochs, once it is known.
    network_slot: Option<u32>,
    /// Has the source been located? From the underlay that comes first, for the sender guard.
    guarded: bool,
    steps: Vec<TraceStep>,
}

fn hook_name(number: u8) -> &'static str {
    match number {
        hook::FROM_WORKLOAD => maps::program::FROM_WORKLOAD,
        hook::FROM_UNDERLAY => maps::program::FROM_UNDERLAY,
        hook::FROM_OVERLAY => maps::program::FROM_OVERLAY,
        _ => maps::program::FROM_HOST,
    }
}

fn mac(bytes: [u8; 6]) -> String {
    MacAddress::new(bytes).map_or_else(|_| format!("{bytes:02x?}"), |mac| mac.to_string())
}

impl<'a> Narrator<'a> {
    pub(super) fn new(names: &'a Names, host: String, hook: u8) -> Self {
        let guarded = hook == hook::FROM_WORKLOAD;
        Self { names, host, hook, egress: BTreeSet::new(), network_slot: None, guarded, steps: Vec::new() }
    }

    pub(super) fn into_steps(self) -> Vec<TraceStep> {
        self.steps
    }

    /// A step without a row.
    pub(super) fn say(&mut self, stage: Stage, text: String) {
        self.step(stage, "", String::new(), text);
    }

    fn step(&mut self, stage: Stage, table: &str, row: String, text: String) {
        self.steps.push(TraceStep {
            host: self.host.clone(),
            hook: hook_name(self.hook).to_owned(),
            stage: stage.name().to_owned(),
            text,
            table: table.to_owned(),
            row,
        });
    }

    /// Tells one lookup.
    pub(super) fn tell(&mut self, lookup: &Lookup) {
        match lookup {
            Lookup::Port(ifindex, row) => self.port(*ifindex, row.as_ref()),
            Lookup::Source(key, found) => {
                let word = if *found { "is" } else { "is not" };
                let text = format!("{} {word} a further address of the port", key.address);
                self.step(Stage::SourceGuard, maps::SOURCES.name, String::new(), text);
            }
            Lookup::Location(key, row) => self.location(key.address, row.as_ref(), maps::LOCATIONS.name),
            Lookup::Prefix(key, row) => self.location(key.address, row.as_ref(), maps::PREFIXES.name),
            Lookup::Host(host, row) => self.host(*host, row.as_ref()),
            Lookup::Member(key, row) => self.member(key, row.as_ref()),
            // What a network says of timeouts decides about no packet.
            Lookup::Network(..) => {}
            Lookup::Epoch(slot, word) => self.epoch(*slot, *word),
            Lookup::Flow(key, row) => self.flow(key, row.as_ref()),
            Lookup::ServiceClasses(key, row) => {
                let what = service(u16::from_be(key.protocol) as u8, key.port);
                let (row, text) = match row {
                    Some(row) => (
                        format!("set {} classes {} and {} pairs {:#x}", key.set, row.inner, row.leaf, row.pairs),
                        format!("rules of set {} that look at {what}", key.set),
                    ),
                    None => (String::new(), format!("no rule of set {} looks at {what}", key.set)),
                };
                self.step(self.direction(key.set), maps::POLICY_SERVICES.name, row, text);
            }
            Lookup::IdentityClass(key, row) => {
                let groups = self.names.groups(key.identity);
                let (row, text) = match row {
                    Some(row) => (
                        format!("set {} class {} pairs {:#x}", key.set, row.class, row.pairs),
                        format!("rules name a group of the other side ({groups})"),
                    ),
                    None => (String::new(), format!("no rule names a group of the other side ({groups})")),
                };
                self.step(self.direction(key.set), maps::POLICY_IDENTITIES.name, row, text);
            }
            Lookup::PrefixClasses(key, row) => {
                let (row, text) = match row {
                    Some(row) => (
                        format!(
                            "set {} classes {}, {} and {} pairs {:#x}",
                            key.set, row.top, row.middle, row.leaf, row.pairs
                        ),
                        format!("rules name a prefix with {}", key.address),
                    ),
                    None => (String::new(), format!("no rule names a prefix with {}", key.address)),
                };
                self.step(self.direction(key.set), maps::POLICY_PREFIXES.name, row, text);
            }
            Lookup::Cell(key, row) => self.cell(key, row.as_ref()),
        }
    }

    fn port(&mut self, ifindex: u32, row: Option<&PortRow>) {
        let first = self.hook == hook::FROM_WORKLOAD && self.network_slot.is_none();
        let stage = if first { Stage::SourceGuard } else { Stage::Locate };
        let Some(row) = row else {
            return self.step(stage, maps::PORTS.name, String::new(), format!("no port is behind interface {ifindex}"));
        };
        self.network_slot = Some(row.network_slot);
        self.egress.extend([row.egress_set, row.operator_egress_set]);
        let v4 = Address::from_v4_word(row.v4);
        let addresses: Vec<_> = [v4, row.v6].into_iter().filter(|address| !address.is_unspecified()).collect();
        let name = addresses.first().map(|address| self.names.owner(*address)).unwrap_or_default();
        let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let (text, groups) = (format!("interface {ifindex} is {name}"), self.names.groups(row.identity));
        let row = format!(
            "mac {} addresses {addresses} groups ({groups}) egress set {} ingress set {} slot {} epoch {}",
            mac(row.mac),
            row.egress_set,
            row.ingress_set,
            row.slot,
            row.epoch
        );
        self.step(stage, maps::PORTS.name, row, text);
    }

    fn location(&mut self, address: Address, row: Option<&LocationRow>, table: &str) {
        let stage = if self.guarded { Stage::Locate } else { Stage::SenderGuard };
        let Some(row) = row else {
            let text = if table == maps::PREFIXES.name {
                format!("no foreign endpoint's prefix covers {address}")
            } else {
                format!("{address} is no port's address on this network")
            };
            return self.step(stage, table, String::new(), text);
        };
        self.guarded = true;
        let text = match row.kind {
            location_kind::PORT if row.flags & location_flag::LOCAL != 0 && row.ifindex == 0 => {
                format!("{address} is {} on this host, without a workload", self.names.owner(address))
            }
            location_kind::PORT if row.flags & location_flag::LOCAL != 0 => {
                format!("{address} is {} on this host", self.names.owner(address))
            }
            location_kind::PORT => {
                format!("{address} is {} on {}", self.names.owner(address), self.names.host(row.host))
            }
            location_kind::VTEP => format!("{address} is behind {}", self.names.host(row.host)),
            location_kind::GATEWAY => format!("{address} is the network's own router"),
            _ => format!("{address} is known, but not where"),
        };
        let groups = self.names.groups(row.identity);
        let words = format!(
            "kind {} host {} interface {} mac {} groups ({groups}) slot {} epoch {}",
            row.kind,
            row.host,
            row.ifindex,
            mac(row.mac),
            row.slot,
            row.epoch
        );
        self.step(stage, table, words, text);
    }

    fn host(&mut self, host: u32, row: Option<&HostRow>) {
        let name = self.names.host(host);
        let (row, text) = match row {
            Some(row) => (
                format!("endpoint {} gateway {} interface {}", row.underlay, row.gateway, row.ifindex),
                format!("{name} has the tunnel endpoint {}", row.underlay),
            ),
            None => (String::new(), format!("no tunnel endpoint of {name} is known")),
        };
        self.step(Stage::Locate, maps::HOSTS.name, row, text);
    }

    fn member(&mut self, key: &MemberKey, row: Option<&MemberRow>) {
        let sender = key.underlay;
        let (row, text) = match row {
            Some(row) => {
                self.network_slot = Some(row.network_slot);
                let name = self.names.host(row.host);
                (
                    format!("network {} host {} flags {}", row.network, row.host, row.flags),
                    format!("{sender} may send with VNI {}: it is {name}", key.vni),
                )
            }
            None => (String::new(), format!("{sender} may not send with VNI {}", key.vni)),
        };
        self.step(Stage::SenderGuard, maps::MEMBERS.name, row, text);
    }

    /// Epochs at rest are not worth a step; a network that is changing is.
    fn epoch(&mut self, slot: u32, word: Option<u32>) {
        if let Some(word) = word.filter(|word| self.network_slot == Some(slot) && word & 1 != 0) {
            let text = "the network's tables are changing".to_owned();
            self.step(Stage::Ingress, maps::EPOCHS.name, format!("slot {slot} word {word}"), text);
        }
    }

    fn flow(&mut self, key: &FlowKey, row: Option<&FlowRow>) {
        let (row, text) = match row {
            Some(row) => (
                format!("state {:#x} lifetime {} s", row.state, row.lifetime),
                format!("a connection is known: it is {}", key.state_name(row.state)),
            ),
            None => (String::new(), "no connection is known: the packet is judged as the first of one".to_owned()),
        };
        self.step(Stage::Flow, maps::FLOWS.name, row, text);
    }

    fn direction(&self, set: PolicySet) -> Stage {
        if self.egress.contains(&set) { Stage::Egress } else { Stage::Ingress }
    }

    fn cell(&mut self, key: &CellKey, row: Option<&CellRow>) {
        let remote = match usize::from(key.remote_level) {
            remote_level::ANY => "any remote",
            remote_level::IDENTITY => "its group",
            _ => "its prefix",
        };
        let (row, text) = match row {
            Some(row) => {
                let does = match row.action {
                    action if action == Action::Allow as u8 => "allows",
                    action if action == Action::Pass as u8 => "leaves to the tenant",
                    _ => "denies",
                };
                (
                    format!("set {} order {} rule {} action {}", key.set, row.order, row.rule, row.action),
                    format!("for {remote}, {} {does} it, at rank {}", self.names.rule(row.rule), row.order),
                )
            }
            None => (String::new(), format!("for {remote} there is no rule")),
        };
        self.step(self.direction(key.set), maps::POLICY_CELLS.name, row, text);
    }
}
