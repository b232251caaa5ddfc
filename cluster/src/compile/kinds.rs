//! Pods that nothing in a policy can tell apart.

use std::collections::{BTreeMap, BTreeSet};

use andromede_model::SecurityGroupName;

use super::PeerKey;
use crate::{Cluster, ObjectName, Pod, objects::Labels, policy::NamespaceChoice};

/// Pods of one namespace with the same labels and named ports: replicas. Selectors are asked once for all of them.
pub(super) struct Kind<'a> {
    pub(super) namespace: &'a str,
    /// Labels of the namespace; none: the namespace is not known (yet), and no selector of namespaces selects it.
    namespace_labels: Option<&'a Labels>,
    /// Any of them.
    pub(super) pod: &'a Pod,
    pub(super) names: Vec<&'a ObjectName>,
    /// The groups that they have.
    pub(super) groups: BTreeSet<SecurityGroupName>,
    /// Does a policy isolate them for what they receive?
    pub(super) receives_by_policy: bool,
    /// And for what they send?
    pub(super) sends_by_policy: bool,
}

impl Kind<'_> {
    /// Are they among these peers?
    pub(super) fn is_among(&self, peer: &PeerKey<'_>) -> bool {
        let there = match peer.namespaces {
            NamespaceChoice::Own(name) => self.namespace == name,
            NamespaceChoice::Selected(selector) => self.namespace_labels.is_some_and(|labels| selector.matches(labels)),
        };
        there
            && peer.pods.matches(&self.pod.labels)
            && peer.port.is_none_or(|(name, protocol, number)| self.pod.numbers(name, protocol).any(|it| it == number))
    }
}

/// The pods of a cluster, by kind.
pub(super) fn of(cluster: &Cluster) -> Vec<Kind<'_>> {
    let mut kinds: BTreeMap<(&str, &Pod), Vec<&ObjectName>> = BTreeMap::new();
    for (name, pod) in &cluster.pods {
        kinds.entry((&name.namespace, pod)).or_default().push(name);
    }
    let kind = |((namespace, pod), names)| Kind {
        namespace,
        namespace_labels: cluster.namespaces.get(namespace).map(|namespace| &namespace.labels),
        pod,
        names,
        groups: BTreeSet::new(),
        receives_by_policy: false,
        sends_by_policy: false,
    };
    kinds.into_iter().map(kind).collect()
}
