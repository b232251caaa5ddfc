//! Kinds of resources, what people call them, and the shape of their names.

use andromede_proto::v1::{Resource, resource};

use crate::failure::Failure;

/// A kind of resource, in an order in which each refers only to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A place.
    Zone,
    /// A customer.
    Tenant,
    /// A private network.
    Network,
    /// A range of addresses.
    Subnet,
    /// Rules of the operator.
    OperatorPolicy,
    /// Prefixes under one name.
    PrefixList,
    /// A set of rules.
    SecurityGroup,
    /// A foreign tunnel endpoint.
    Vtep,
    /// A machine.
    Host,
    /// A workload's interface.
    Port,
}

/// Words for a kind.
struct Words {
    kind: Kind,
    /// As in messages and `describe`.
    singular: &'static str,
    /// As in resource names and JSON.
    collection: &'static str,
    /// What else is understood.
    aliases: &'static [&'static str],
    /// Collections in its resource name, outermost first.
    path: &'static [&'static str],
}

const IN_NETWORK: [&str; 2] = ["tenants", "networks"];

const WORDS: [Words; 10] = [
    Words { kind: Kind::Zone, singular: "zone", collection: "zones", aliases: &["zo"], path: &["zones"] },
    Words { kind: Kind::Tenant, singular: "tenant", collection: "tenants", aliases: &["ten"], path: &["tenants"] },
    Words {
        kind: Kind::Network,
        singular: "network",
        collection: "networks",
        aliases: &["net", "nets"],
        path: &IN_NETWORK,
    },
    Words {
        kind: Kind::Subnet,
        singular: "subnet",
        collection: "subnets",
        aliases: &["sub", "subs", "sn"],
        path: &["tenants", "networks", "subnets"],
    },
    Words {
        kind: Kind::OperatorPolicy,
        singular: "operator policy",
        collection: "operatorPolicies",
        aliases: &["op", "ops", "operatorpolicy", "operator-policy", "operator-policies"],
        path: &["operatorPolicies"],
    },
    Words {
        kind: Kind::PrefixList,
        singular: "prefix list",
        collection: "prefixLists",
        aliases: &["pl", "pls", "prefixlist", "prefix-list", "prefix-lists"],
        path: &["tenants", "networks", "prefixLists"],
    },
    Words {
        kind: Kind::SecurityGroup,
        singular: "security group",
        collection: "securityGroups",
        aliases: &["sg", "sgs", "group", "groups", "securitygroup", "security-group", "security-groups"],
        path: &["tenants", "networks", "securityGroups"],
    },
    Words {
        kind: Kind::Vtep,
        singular: "vtep",
        collection: "vteps",
        aliases: &["vt"],
        path: &["tenants", "networks", "vteps"],
    },
    Words { kind: Kind::Host, singular: "host", collection: "hosts", aliases: &["ho"], path: &["hosts"] },
    Words {
        kind: Kind::Port,
        singular: "port",
        collection: "ports",
        aliases: &["po", "pos"],
        path: &["tenants", "networks", "ports"],
    },
];

impl Kind {
    fn words(self) -> &'static Words {
        // Every kind is in the table: a test says so.
        WORDS.iter().find(|words| words.kind == self).unwrap_or(&WORDS[0])
    }

    /// All kinds, each after those that it refers to.
    pub(crate) const ALL: [Self; 10] = [
        Self::Zone,
        Self::Tenant,
        Self::Network,
        Self::Subnet,
        Self::OperatorPolicy,
        Self::PrefixList,
        Self::SecurityGroup,
        Self::Vtep,
        Self::Host,
        Self::Port,
    ];

    /// "security group".
    pub(crate) fn singular(self) -> &'static str {
        self.words().singular
    }

    /// "securityGroups".
    pub(crate) fn collection(self) -> &'static str {
        self.words().collection
    }

    /// Collections in its resource name, for example `["tenants", "networks", "ports"]`.
    pub(crate) fn path(self) -> &'static [&'static str] {
        self.words().path
    }

    /// The kind that a word means: "ports", "port", "po", in any case.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let word = word.to_lowercase();
        WORDS
            .iter()
            .find(|words| {
                words.collection.to_lowercase() == word
                    || words.singular == word
                    || words.aliases.contains(&word.as_str())
            })
            .map(|words| words.kind)
    }

    /// The kind of a whole resource name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split('/').collect();
        if !parts.len().is_multiple_of(2) || parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let collections: Vec<&str> = parts.iter().copied().step_by(2).collect();
        WORDS.iter().find(|words| words.path == collections).map(|words| words.kind)
    }

    /// The kind of a resource; none if it is of a kind that this program does not know.
    pub(crate) fn of(resource: &Resource) -> Option<Self> {
        Some(match resource.kind.as_ref()? {
            resource::Kind::Zone(_) => Self::Zone,
            resource::Kind::Tenant(_) => Self::Tenant,
            resource::Kind::Network(_) => Self::Network,
            resource::Kind::Subnet(_) => Self::Subnet,
            resource::Kind::SecurityGroup(_) => Self::SecurityGroup,
            resource::Kind::PrefixList(_) => Self::PrefixList,
            resource::Kind::OperatorPolicy(_) => Self::OperatorPolicy,
            resource::Kind::Vtep(_) => Self::Vtep,
            resource::Kind::Host(_) => Self::Host,
            resource::Kind::Port(_) => Self::Port,
        })
    }

    /// As an argument on the command line.
    pub(crate) fn parse(word: &str) -> Result<Self, Failure> {
        Self::from_word(word).ok_or_else(|| {
            let known: Vec<&str> = WORDS.iter().map(|words| words.collection).collect();
            Failure::Usage(format!("{word:?} is no kind of resource; there are: {}", known.join(", ")))
        })
    }
}

/// The resource's own name.
pub(crate) fn name_of(resource: &Resource) -> &str {
    match &resource.kind {
        Some(resource::Kind::Zone(it)) => &it.name,
        Some(resource::Kind::Tenant(it)) => &it.name,
        Some(resource::Kind::Network(it)) => &it.name,
        Some(resource::Kind::Subnet(it)) => &it.name,
        Some(resource::Kind::SecurityGroup(it)) => &it.name,
        Some(resource::Kind::PrefixList(it)) => &it.name,
        Some(resource::Kind::OperatorPolicy(it)) => &it.name,
        Some(resource::Kind::Vtep(it)) => &it.name,
        Some(resource::Kind::Host(it)) => &it.name,
        Some(resource::Kind::Port(it)) => &it.name,
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_means_one_kind() {
        for kind in Kind::ALL {
            assert_eq!(kind.words().kind, kind);
            assert_eq!(Kind::from_word(kind.singular()), Some(kind));
            assert_eq!(Kind::from_word(kind.collection()), Some(kind));
            assert_eq!(kind.path().last(), Some(&kind.collection()));
            let owners = |word: &str| WORDS.iter().filter(|words| words.aliases.contains(&word)).count();
            assert!(kind.words().aliases.iter().all(|alias| owners(alias) == 1));
        }
        assert_eq!(Kind::from_word("SecurityGroup"), Some(Kind::SecurityGroup));
        assert_eq!(Kind::from_word("router"), None);
    }

    #[test]
    fn names_tell_their_kind() {
        assert_eq!(Kind::from_name("tenants/t/networks/n/ports/p"), Some(Kind::Port));
        assert_eq!(Kind::from_name("hosts/h1"), Some(Kind::Host));
        for wrong in ["", "h1", "hosts/", "hosts", "tenants/t/ports/p", "tenants/t/networks", "hosts/a/hosts/b"] {
            assert_eq!(Kind::from_name(wrong), None, "{wrong:?}");
        }
    }
}
