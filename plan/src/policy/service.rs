//! Service classes: protocol and destination port.

use std::collections::BTreeMap;

use andromede_model::{Protocol, Rule};

use super::{Classes, Content, Mentions, Ranks};
use crate::TooLarge;

/// A node of the trie over protocol (16 bits) and port (16 bits): the value, shifted up to 32 bits, and how many bits count.
/// In this order a node stands right before those beneath it.
type Node = (u32, u8);

/// Bits of the protocol.
const PROTOCOL_BITS: u8 = 16;

/// Is `lower` beneath `upper`, or the same?
fn covers(upper: Node, lower: Node) -> bool {
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

/// The nodes that a rule matches.
fn nodes(rule: &Rule) -> Vec<Node> {
    let Protocol::Number(protocol) = rule.protocol else {
        return vec![(0, 0)];
    };
    let node = |(port, bits): (u16, u8)| (u32::from(protocol) << 16 | u32::from(port), PROTOCOL_BITS + bits);
    if rule.protocol.has_ports() && !rule.ports.is_empty() {
        let ranges = rule.ports.iter().flat_map(|range| prefixes_of_range(range.first(), range.last()));
        return ranges.map(node).collect();
    }
    match (rule.icmp_type.filter(|_| rule.protocol.is_icmp()), rule.icmp_code) {
        (Some(kind), Some(code)) => vec![node((u16::from_be_bytes([kind, code]), 16))],
        (Some(kind), None) => vec![node((u16::from_be_bytes([kind, 0]), 8))],
        (None, _) => vec![node((0, 0))],
    }
}

/// Fills the service table. A node's class includes the rules of all nodes above it, because only the longest is found.
pub(super) fn classify(rules: &[&Rule], classes: &mut Classes, content: &mut Content) -> Result<(), TooLarge> {
    let mut mentions = Mentions(0);
    let mut trie: BTreeMap<Node, Ranks> = BTreeMap::new();
    for (rank, rule) in rules.iter().enumerate() {
        for node in nodes(rule) {
            mentions.spend(1)?;
            trie.entry(node).or_default().push(rank as u32);
        }
    }
    let mut above: Vec<(Node, Ranks)> = Vec::new();
    for (node, own) in trie {
        while above.last().is_some_and(|(upper, _)| !covers(*upper, node)) {
            above.pop();
        }
        let inherited = above.last().map(|(_, ranks)| ranks.clone()).unwrap_or_default();
        mentions.spend(inherited.len())?;
        let mut ranks = inherited.clone();
        ranks.extend(own);
        ranks.sort_unstable();
        ranks.dedup();
        // A node that says the same as the one above it is not needed.
        if ranks != inherited {
            let (value, bits) = node;
            let key = (32 + u32::from(bits), ((value >> 16) as u16).to_be(), (value as u16).to_be());
            content.services.insert(key, classes.of(&ranks));
        }
        above.push((node, ranks));
    }
    Ok(())
}
