//! Classes of addresses: where the other side is.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use andromede_abi::{Address, PrefixClasses, remote_level};
use andromede_model::{Prefix, Remote};

use super::{
    Class, Mentions, Ranked, Ranks,
    classes::{Classes, Node, Trie},
};
use crate::{TooLarge, rows::prefix_length};

/// The rows of prefixes, pairs still to be filled in, and for each rule its classes.
pub(super) struct Prefixes {
    pub(super) rows: BTreeMap<(u32, Address), PrefixClasses>,
    pub(super) of_rule: Vec<Vec<Class>>,
}

/// Prefixes within others have a level each, so that rules for wide prefixes and rules for narrow ones never multiply.
fn level(node: &Node<Prefix>) -> usize {
    match node.height {
        0 => remote_level::LEAF,
        1 => remote_level::MIDDLE,
        _ => remote_level::TOP,
    }
}

/// The classes of the prefixes that rules name.
pub(super) fn classify(rules: &[Ranked<'_>]) -> Result<Prefixes, TooLarge> {
    let mut mentions = Mentions(0);
    let mut of_prefix: BTreeMap<Prefix, Ranks> = BTreeMap::new();
    for (rank, ranked) in rules.iter().enumerate() {
        let one = match &ranked.rule.remote {
            Remote::Cidr(cidr) => Some(cidr),
            Remote::Any | Remote::PrefixList(_) | Remote::Group(_) => None,
        };
        mentions.spend(ranked.list.len())?;
        for prefix in ranked.list.iter().chain(one) {
            of_prefix.entry(*prefix).or_default().push(rank as u32);
        }
    }
    // IPv4 stands inside IPv6 in the table (::ffff:0:0/96). An IPv6 prefix around that range must not be found for IPv4.
    let mapped = IpAddr::V6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());
    let around_v4 = of_prefix.keys().any(|prefix| prefix.contains(mapped));
    if let Ok(v4) = Prefix::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
        && around_v4
    {
        of_prefix.entry(v4).or_default();
    }
    let trie = Trie::new(of_prefix, Prefix::covers);
    let mut classes = Classes::new(remote_level::COUNT);
    let of_node = trie.classify(level, remote_level::COUNT, &mut classes, &mut mentions)?;
    let row = |of_node: &Vec<u32>| {
        let class = |level: usize| of_node.get(level).copied().unwrap_or_default();
        PrefixClasses {
            top: class(remote_level::TOP),
            middle: class(remote_level::MIDDLE),
            leaf: class(remote_level::LEAF),
            pairs: 0,
        }
    };
    let key = |prefix: Prefix| (prefix_length(prefix.length(), prefix.is_ipv4()), Address::from(prefix.address()));
    let rows = trie.0.iter().zip(&of_node).map(|(node, of_node)| (key(node.key), row(of_node))).collect();
    Ok(Prefixes { rows, of_rule: classes.by_rule(rules.len()) })
}
