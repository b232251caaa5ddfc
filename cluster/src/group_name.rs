//! Names of the groups and lists that a cluster makes, and the labels on them.
//!
//! A name is made of what the group stands for, so that the same cluster gives the same names at any time and in any process: an
//! operator that starts anew finds what it wrote.

use andromede_model::{NameError, NetworkName, Prefix, PrefixListName, SecurityGroupName};
use sha2::{Digest as _, Sha256};

use crate::{
    ObjectName, Requirement, Selector,
    compile::{PeerKey, Resolution},
    policy::NamespaceChoice,
};

/// Group of pods that no policy isolates for what they receive: it lets everything in.
pub const OPEN: &str = "kube-open";
/// Group of pods that a policy isolates for what they send: it refuses what no policy allows.
pub const CLOSED: &str = "kube-closed";
/// Group of pods of which nothing is known yet: they receive nothing and send nothing.
pub const PENDING: &str = "kube-pending";

/// Label of everything that an operator writes; its value is the name of the cluster.
pub const CLUSTER_LABEL: &str = "kube-cluster";
/// Label of a policy's group: the namespace of the policy.
pub const NAMESPACE_LABEL: &str = "kube-namespace";
/// Label of a policy's group: the name of the policy, if it is short enough for a label.
pub const POLICY_LABEL: &str = "kube-policy";

/// Hexadecimal digits of a hash in a name: 80 bits, so that whoever chooses names of policies finds no two that are the same here.
const DIGITS: usize = 20;
/// Characters of a name that are there for people.
const READABLE: usize = 38;

/// A name of a group that is always the same.
pub(crate) fn fixed(network: &NetworkName, id: &str) -> Result<SecurityGroupName, NameError> {
    format!("{network}/securityGroups/{id}").parse()
}

/// The group of the pods that a policy selects and that agree in what its named ports stand for.
pub(crate) fn of_policy(
    network: &NetworkName,
    policy: &ObjectName,
    resolution: &Resolution<'_>,
) -> Result<SecurityGroupName, NameError> {
    let mut key = Key::new("policy");
    key.text(&policy.namespace);
    key.text(&policy.name);
    for ((name, protocol), numbers) in resolution {
        key.text(name);
        key.text(&protocol.to_string());
        key.text(&numbers.iter().map(u16::to_string).collect::<Vec<_>>().join(","));
    }
    let readable: String = format!("{}-{}", policy.namespace, policy.name)
        .bytes()
        .map(|byte| if byte.is_ascii_lowercase() || byte.is_ascii_digit() { char::from(byte) } else { '-' })
        .take(READABLE)
        .collect();
    fixed(network, &format!("np-{readable}-{}", key.hash()))
}

/// The group of the pods that a selector of peers selects.
pub(crate) fn of_peer(network: &NetworkName, peer: &PeerKey<'_>) -> Result<SecurityGroupName, NameError> {
    let mut key = Key::new("peer");
    match peer.namespaces {
        NamespaceChoice::Own(name) => {
            key.text("own");
            key.text(name);
        }
        NamespaceChoice::Selected(selector) => {
            key.text("selected");
            key.selector(selector);
        }
    }
    key.selector(peer.pods);
    if let Some((name, protocol, number)) = peer.port {
        key.text(name);
        key.text(&protocol.to_string());
        key.text(&number.to_string());
    }
    fixed(network, &format!("peer-{}", key.hash()))
}

/// The list of these prefixes.
pub(crate) fn of_list(network: &NetworkName, prefixes: &[Prefix]) -> Result<PrefixListName, NameError> {
    let mut key = Key::new("block");
    for prefix in prefixes {
        key.text(&prefix.to_string());
    }
    format!("{network}/prefixLists/block-{}", key.hash()).parse()
}

/// What is hashed: texts, each with its length before it, so that no two sequences are the same.
struct Key(Sha256);

impl Key {
    fn new(kind: &str) -> Self {
        let mut key = Self(Sha256::new());
        key.text(kind);
        key
    }

    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
    }

    fn selector(&mut self, selector: &Selector) {
        for requirement in selector.requirements() {
            let (kind, label, values) = match requirement {
                Requirement::In(label, values) => ("in", label, Some(values)),
                Requirement::NotIn(label, values) => ("not-in", label, Some(values)),
                Requirement::Exists(label) => ("exists", label, None),
                Requirement::DoesNotExist(label) => ("does-not-exist", label, None),
            };
            self.text(kind);
            self.text(label);
            self.text(&values.map_or(0, std::collections::BTreeSet::len).to_string());
            for value in values.into_iter().flatten() {
                self.text(value);
            }
        }
        self.text("end of selector");
    }

    fn hash(self) -> String {
        let digest = self.0.finalize();
        let digits = digest.iter().take(DIGITS / 2);
        digits.fold(String::with_capacity(DIGITS), |text, byte| text + &format!("{byte:02x}"))
    }
}
