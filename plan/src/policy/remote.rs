//! Remote classes: who the other side is, and where.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use andromede_abi::Address;
use andromede_model::{Prefix, Remote, Rule, SecurityGroupName};

use super::{Classes, Content, Mentions, Ranks};
use crate::{TooLarge, rows::prefix_length};

/// Has the rule no condition on the other side?
pub(super) fn is_any(rule: &Rule) -> bool {
    rule.remote == Remote::Any
}

/// Fills the identity table: a class stands for the rules whose remote group is in the identity.
pub(super) fn classify_identities(
    rules: &[&Rule],
    identities: &BTreeMap<u32, BTreeSet<SecurityGroupName>>,
    classes: &mut Classes,
    content: &mut Content,
) {
    let mut of_group: BTreeMap<&SecurityGroupName, Ranks> = BTreeMap::new();
    for (rank, rule) in rules.iter().enumerate() {
        if let Remote::Group(group) = &rule.remote {
            of_group.entry(group).or_default().push(rank as u32);
        }
    }
    for (identity, groups) in identities {
        let mut ranks: Ranks = groups.iter().filter_map(|group| of_group.get(group)).flatten().copied().collect();
        ranks.sort_unstable();
        if !ranks.is_empty() {
            content.identities.insert(*identity, classes.of(&ranks));
        }
    }
}

/// Fills the prefix table. A prefix's class includes the rules of all prefixes that cover it, because only the longest is found.
pub(super) fn classify_prefixes(rules: &[&Rule], classes: &mut Classes, content: &mut Content) -> Result<(), TooLarge> {
    let mut mentions = Mentions(0);
    let mut of_prefix: BTreeMap<Prefix, Ranks> = BTreeMap::new();
    for (rank, rule) in rules.iter().enumerate() {
        if let Remote::Cidr(cidr) = rule.remote {
            of_prefix.entry(cidr).or_default().push(rank as u32);
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
    let mut above: Vec<(Prefix, Ranks)> = Vec::new();
    // In the order of prefixes one stands right before those that it covers.
    for (prefix, own) in of_prefix {
        while above.last().is_some_and(|(upper, _)| !upper.covers(prefix)) {
            above.pop();
        }
        let mut ranks = above.last().map(|(_, ranks)| ranks.clone()).unwrap_or_default();
        ranks.extend(own);
        ranks.sort_unstable();
        mentions.spend(ranks.len())?;
        let key = (prefix_length(prefix.length(), prefix.is_ipv4()), Address::from(prefix.address()));
        content.prefixes.insert(key, classes.of(&ranks));
        above.push((prefix, ranks));
    }
    Ok(())
}
