//! Rules that are scanned: nothing is compiled, and nothing is shared with the packet path.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

/// Names of the groups, as the small fabric has them.
pub const GROUPS: [&str; 2] = ["clients", "servers"];

/// The prefixes of each list, by its place.
pub type Lists = [Vec<(IpAddr, u8)>; 2];

/// Names of the lists that each tenant has, and their prefixes at first.
pub const LISTS: [(&str, &[(IpAddr, u8)]); 2] =
    [("near", &[(v4(0), 30), (v6(0), 126)]), ("far", &[(v4(3), 32), (v4(192), 26), (v4(200), 32), (v6(0xc0), 122)])];

const fn v4(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

const fn v6(last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, last))
}

/// A list of a tenant, by its place, as a document of the API.
pub fn list_document(tenant: &str, place: usize, prefixes: &[(IpAddr, u8)]) -> Value {
    let prefixes: Vec<String> =
        prefixes.iter().map(|(network, bits)| format!("{}/{bits}", masked(*network, *bits))).collect();
    json!({"kind": "PrefixList", "name": list(tenant, LISTS[place].0), "prefixes": prefixes})
}

/// The lists of a tenant at first, as documents of the API.
pub fn lists(tenant: &str) -> Vec<Value> {
    LISTS.iter().enumerate().map(|(place, (_, prefixes))| list_document(tenant, place, prefixes)).collect()
}

/// The operator's rules for the network of a tenant as a document of the API.
pub fn operator_document(tenant: &str, rules: &[Rule]) -> Value {
    json!({
        "kind": "OperatorPolicy", "name": format!("operatorPolicies/{tenant}"),
        "networks": [format!("tenants/{tenant}/networks/n")], "rules": documents(tenant, rules),
    })
}

/// Rules as documents of the API.
pub fn documents(tenant: &str, rules: &[Rule]) -> Vec<Value> {
    rules.iter().enumerate().map(|(place, rule)| rule.document(place, tenant)).collect()
}

fn list(tenant: &str, name: &str) -> String {
    format!("tenants/{tenant}/networks/n/prefixLists/{name}")
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Does {
    /// It refuses.
    Deny,
    /// It leaves the decision to the tenant; the operator's only.
    Pass,
    /// It permits.
    Allow,
}

/// The other side that a rule looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// Any.
    Any,
    /// An address that begins with so many bits of this one.
    Cidr(IpAddr, u8),
    /// A port with the group of this place.
    Group(usize),
    /// An address that the list of this place covers.
    List(usize),
}

/// A rule as its author thinks of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What the port receives, or what it sends.
    pub ingress: bool,
    /// What the rule does.
    pub does: Does,
    /// It spares connections that live: one that it lets in outlives it, one that it refuses goes on.
    pub keep: bool,
    /// Lower comes first.
    pub priority: u16,
    /// IP protocol number; none: any.
    pub protocol: Option<u8>,
    /// First and last destination port; none: all.
    pub ports: Option<(u16, u16)>,
    /// Type and code of ICMP; none: all.
    pub icmp: Option<(u8, Option<u8>)>,
    /// The other side.
    pub remote: Remote,
}

/// What rules are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Into the port, or out of it.
    pub ingress: bool,
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port, or type and code of ICMP; none for a fragment that has neither.
    pub service: Option<u16>,
    /// Address of the other side.
    pub remote: IpAddr,
    /// Places of the groups that the other side has.
    pub remote_groups: &'a [usize],
    /// What the lists hold.
    pub lists: &'a Lists,
}

/// What rules answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A rule decides: it allows, and keeps.
    By(bool, bool),
    /// None does.
    Default,
}

impl Rule {
    fn matches(&self, question: &Question<'_>) -> bool {
        let service = match question.service {
            Some(service) => {
                let [kind, code] = service.to_be_bytes();
                self.ports.is_none_or(|(first, last)| (first..=last).contains(&service))
                    && self.icmp.is_none_or(|icmp| icmp.0 == kind && icmp.1.is_none_or(|wanted| wanted == code))
            }
            None => self.ports.is_none() && self.icmp.is_none(),
        };
        let remote = match self.remote {
            Remote::Any => true,
            Remote::Cidr(network, bits) => covers(network, bits, question.remote),
            Remote::Group(group) => question.remote_groups.contains(&group),
            Remote::List(list) => {
                question.lists[list].iter().any(|(network, bits)| covers(*network, *bits, question.remote))
            }
        };
        self.ingress == question.ingress
            && self.protocol.is_none_or(|protocol| protocol == question.protocol)
            && service
            && remote
    }

    /// The rule as a document of the API.
    pub fn document(&self, name: usize, tenant: &str) -> Value {
        let mut rule = json!({
            "name": format!("r{name}"),
            "direction": if self.ingress { "ingress" } else { "egress" },
            "action": match self.does {
                Does::Deny => "deny",
                Does::Pass => "pass",
                Does::Allow => "allow",
            },
            "priority": self.priority,
        });
        if self.keep {
            rule["existing"] = json!("keep");
        }
        if let Some(protocol) = self.protocol {
            rule["protocol"] = match protocol {
                1 => json!("icmp"),
                6 => json!("tcp"),
                17 => json!("udp"),
                58 => json!("icmpv6"),
                132 => json!("sctp"),
                other => json!(other.to_string()),
            };
        }
        if let Some((first, last)) = self.ports {
            rule["ports"] = json!([format!("{first}-{last}")]);
        }
        if let Some((kind, code)) = self.icmp {
            rule["icmpType"] = json!(kind);
            if let Some(code) = code {
                rule["icmpCode"] = json!(code);
            }
        }
        match self.remote {
            Remote::Any => {}
            Remote::List(place) => rule["remotePrefixList"] = json!(list(tenant, LISTS[place].0)),
            Remote::Cidr(network, bits) => rule["remoteCidr"] = json!(format!("{}/{bits}", masked(network, bits))),
            Remote::Group(group) => {
                rule["remoteGroup"] = json!(format!("tenants/{tenant}/networks/n/securityGroups/{}", GROUPS[group]));
            }
        }
        rule
    }
}

/// The network of an address: its other bits are zero.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into()
        }
        IpAddr::V6(v6) => {
            Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into()
        }
    }
}

/// The rule that decides: the lowest priority of those that match, and of equals a deny before a pass, and that before an allow. Of
/// those that are still equal all keep, or none does.
pub fn decide<'a>(rules: impl Iterator<Item = &'a Rule>, question: &Question<'_>) -> Answer {
    let first = rules.filter(|rule| rule.matches(question)).min_by_key(|rule| (rule.priority, rule.does));
    match first.map(|rule| (rule.does, rule.keep)) {
        None | Some((Does::Pass, _)) => Answer::Default,
        Some((does, keep)) => Answer::By(does == Does::Allow, keep),
    }
}

fn covers(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let (one, other, width) = match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(one.to_bits()), u128::from(other.to_bits()), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    bits == 0 || (one ^ other) >> (width - bits) == 0
}
