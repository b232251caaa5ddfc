//! The smallest change that would let a packet pass.

use std::fmt::Write as _;

use andromede_abi::{Address, DropReason, RuleNumber, rule};
use andromede_model::{Protocol, SecurityGroupName};
use andromede_pipeline::{Packet, Transport, wire::ip_protocol};

use super::names::Names;

/// What to do about the drop. For a rule it is the rule to write, as a bundle has it.
pub(super) fn of(names: &Names, reason: DropReason, number: RuleNumber, packet: &Packet) -> String {
    let (own, other, direction) = match reason {
        DropReason::IngressRule => (packet.destination, packet.source, "ingress"),
        DropReason::EgressRule => (packet.source, packet.destination, "egress"),
        _ => return reason.remedy().to_owned(),
    };
    let owner = names.owner(own);
    let groups = names.port(own).map(|(_, groups)| groups.iter().map(SecurityGroupName::id).collect::<Vec<_>>());
    let groups = groups.unwrap_or_default().join(", ");
    let allow = |priority| allowing(names, direction, packet, other, priority);
    match number {
        rule::DEFAULT_INGRESS | rule::DEFAULT_EGRESS if groups.is_empty() => {
            format!("{owner} has no security group: give it one with the rule {}", allow(None))
        }
        rule::DEFAULT_INGRESS | rule::DEFAULT_EGRESS => {
            format!("no rule of {owner} allows it: add to one of its groups ({groups}) the rule {}", allow(None))
        }
        number => match names.priority(number).and_then(|priority| priority.checked_sub(1)).filter(|it| *it > 0) {
            Some(priority) => format!(
                "{} denies it: change that rule, or add to one of the groups of {owner} ({groups}) the rule {}",
                names.rule(number),
                allow(Some(priority))
            ),
            None => format!("{} denies it, and no rule can stand before it: change that rule", names.rule(number)),
        },
    }
}

/// A rule that allows the packet and as little else as possible.
fn allowing(names: &Names, direction: &str, packet: &Packet, other: Address, priority: Option<u16>) -> String {
    let mut text = format!("{{direction: {direction}, action: allow");
    if let Some(priority) = priority {
        // Writing to a string cannot fail.
        let _ = write!(text, ", priority: {priority}");
    }
    let _ = write!(text, ", protocol: {}", Protocol::Number(packet.protocol));
    let service = u16::from_be(packet.service_port);
    let _ = match packet.transport {
        Transport::Tcp | Transport::Udp | Transport::Sctp => write!(text, ", ports: [\"{service}\"]"),
        _ if matches!(packet.protocol, ip_protocol::ICMP | ip_protocol::ICMPV6) => {
            write!(text, ", icmpType: {}", service >> 8)
        }
        _ => Ok(()),
    };
    let _ = match names.port(other).and_then(|(_, groups)| groups.first()) {
        Some(group) => write!(text, ", remoteGroup: {group}}}"),
        None => write!(text, ", remoteCidr: {other}/{}}}", if other.is_v4() { 32 } else { 128 }),
    };
    text
}
