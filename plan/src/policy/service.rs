//! Service classes: protocol and destination port.

use std::collections::BTreeMap;

use andromede_abi::{ServiceClasses, service_level};
use andromede_model::{Protocol, Rule};

use super::{
    ANY_SERVICE, Class, Mentions, Ranked, Ranks,
    classes::{Classes, Node, Trie},
};
use crate::TooLarge;

/// A place in the trie over protocol (16 bits) and port (16 bits): the value, shifted up to 32 bits, and how many bits count.
/// In this order a place stands right before those beneath it.
type Place = (u32, u8);

/// Bits of the protocol.
const PROTOCOL_BITS: u8 = 16;

/// Is `lower` beneath `upper`, or the same?
fn covers(upper: Place, lower: Place) -> bool {
    let shift = 32 - u32::from(upper.1);
    upper.1 <= lower.1 && (upper.0 ^ lower.0).checked_shr(shift).unwrap_or(0) == 0
}

/// The prefixes that make up the range of 16-bit numbers from `first` to `last`: value and number of bits.
pub(crate) fn prefixes_of_range(first: u16, last: u16) -> Vec<(u16, u8)> {
    let mut prefixes = Vec::new();
    let (mut next, end) = (u32::from(first), u32::from(last) + 1);
    while next < end {
        // The widest block that begins here: aligned, and not beyond the end.
        let aligned = if next == 0 { 16 } else { next.trailing_zeros() };
        let fitting = (end - next).ilog2();
        let bits = aligned.min(fitting).min(16);
        prefixes.push((next as u16, 16 - bits as u8));
        next += 1 << bits;
    }
    prefixes
}

/// The places that a rule for some protocol matches.
fn places(rule: &Rule, protocol: u8) -> Vec<Place> {
    let place = |(port, bits): (u16, u8)| (u32::from(protocol) << 16 | u32::from(port), PROTOCOL_BITS + bits);
    if rule.protocol.has_ports() && !rule.ports.is_empty() {
        let ranges = rule.ports.iter().flat_map(|range| prefixes_of_range(range.first(), range.last()));
        return ranges.map(place).collect();
    }
    match (rule.icmp_type.filter(|_| rule.protocol.is_icmp()), rule.icmp_code) {
        (Some(kind), Some(code)) => vec![place((u16::from_be_bytes([kind, code]), 16))],
        (Some(kind), None) => vec![place((u16::from_be_bytes([kind, 0]), 8))],
        (None, _) => vec![place((0, 0))],
    }
}

/// The rows of services, pairs still to be filled in, and for each rule its classes.
pub(super) struct Services {
    pub(super) rows: BTreeMap<(u32, u16, u16), ServiceClasses>,
    pub(super) of_rule: Vec<Vec<Class>>,
}

/// Ranges within others, and all within their protocol, are of another level than what is around them.
fn level(node: &Node<Place>) -> usize {
    if node.height == 0 { service_level::LEAF } else { service_level::INNER }
}

/// The key of a place, as in a `ServiceKey`.
fn key((value, bits): Place) -> (u32, u16, u16) {
    (32 + u32::from(bits), ((value >> 16) as u16).to_be(), (value as u16).to_be())
}

/// The classes of the services that rules name. There is always a row for any service.
pub(super) fn classify(rules: &[Ranked<'_>]) -> Result<Services, TooLarge> {
    let mut mentions = Mentions(0);
    let mut of_place: BTreeMap<Place, Ranks> = BTreeMap::new();
    for (rank, ranked) in rules.iter().enumerate() {
        let Protocol::Number(protocol) = ranked.rule.protocol else { continue };
        for place in places(ranked.rule, protocol) {
            mentions.spend(1)?;
            of_place.entry(place).or_default().push(rank as u32);
        }
    }
    let trie = Trie::new(of_place, covers);
    let mut classes = Classes::new(service_level::COUNT);
    let of_node = trie.classify(level, service_level::COUNT, &mut classes, &mut mentions)?;
    let row = |of_node: &Vec<u32>| {
        let class = |level: usize| of_node.get(level).copied().unwrap_or_default();
        ServiceClasses { inner: class(service_level::INNER), leaf: class(service_level::LEAF), pairs: 0 }
    };
    let mut rows: BTreeMap<_, _> = trie.0.iter().zip(&of_node).map(|(node, of)| (key(node.key), row(of))).collect();
    rows.insert(key((0, 0)), ServiceClasses { inner: 0, leaf: 0, pairs: 0 });
    let mut of_rule = classes.by_rule(rules.len());
    for (ranked, classes) in rules.iter().zip(&mut of_rule) {
        if ranked.rule.protocol == Protocol::Any {
            classes.push(ANY_SERVICE);
        }
    }
    Ok(Services { rows, of_rule })
}
