//! What is to be written into a network so that it is what its cluster wants: pure.

use std::collections::{BTreeMap, BTreeSet};

use andromede_model::{HostName, NetworkName, PrefixListName, SecurityGroupName};
use andromede_proto::{
    label::POD_UID,
    v1::{self, resource::Kind},
};

use crate::{CLUSTER_LABEL, Compiled, ObjectName, PENDING};

/// What there is in a network of a cluster: its groups and lists, and the ports of pods that live by policies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    groups: BTreeMap<String, v1::SecurityGroup>,
    lists: BTreeMap<String, v1::PrefixList>,
    ports: BTreeMap<String, v1::Port>,
}

impl Found {
    /// Takes in what the controller told of a resource, if it is of the cluster of this name.
    pub fn take(&mut self, cluster: &str, resource: v1::Resource) {
        let own = |labels: &BTreeMap<String, String>| labels.get(CLUSTER_LABEL).map(String::as_str) == Some(cluster);
        match resource.kind {
            Some(Kind::SecurityGroup(group)) if own(&group.labels) => {
                self.groups.insert(group.name.clone(), plain_group(group));
            }
            Some(Kind::PrefixList(list)) if own(&list.labels) => {
                let list = v1::PrefixList { revision: 0, etag: String::new(), ..list };
                self.lists.insert(list.name.clone(), list);
            }
            Some(Kind::Port(port)) if port.labels.contains_key(POD_UID) => {
                self.ports.insert(port.name.clone(), port);
            }
            // What was one of those and is not any more.
            Some(
                Kind::SecurityGroup(v1::SecurityGroup { name, .. })
                | Kind::PrefixList(v1::PrefixList { name, .. })
                | Kind::Port(v1::Port { name, .. }),
            ) => self.remove(&name),
            _ => {}
        }
    }

    /// Forgets what is gone.
    pub fn remove(&mut self, name: &str) {
        self.groups.remove(name);
        self.lists.remove(name);
        self.ports.remove(name);
    }
}

/// A group as it is written: without what the controller sets.
fn plain_group(mut group: v1::SecurityGroup) -> v1::SecurityGroup {
    group.rules.iter_mut().for_each(|rule| rule.number = 0);
    v1::SecurityGroup { revision: 0, etag: String::new(), ..group }
}

/// A pod by its identifier: what it is called, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its name.
    pub name: ObjectName,
    /// The host of its node, if that is known.
    pub host: Option<HostName>,
}

/// What is to be written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Write {
    /// Lists, groups and ports that are to be like this: one commit, so that hosts close before they open.
    pub resources: Vec<v1::Resource>,
    /// What nobody refers to afterwards.
    pub deleted: Vec<String>,
    /// Pods whose port leaves [`PENDING`].
    pub known: Vec<ObjectName>,
    /// Pods for which a host other than that of their node has a port: it stays isolated.
    pub elsewhere: Vec<ObjectName>,
}

impl Write {
    /// Is there nothing to do?
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.deleted.is_empty()
    }
}

/// Compares what is wanted with what there is. `pods` are the cluster's, by identifier.
pub fn write(network: &NetworkName, compiled: &Compiled, found: &Found, pods: &BTreeMap<&str, Placed>) -> Write {
    let mut write = Write::default();
    for list in compiled.lists.values() {
        let wanted = v1::PrefixList::from(list.clone());
        if found.lists.get(&wanted.name) != Some(&wanted) {
            write.resources.push(wanted.into());
        }
    }
    for group in compiled.groups.values() {
        let wanted = v1::SecurityGroup::from(group.clone());
        if found.groups.get(&wanted.name) != Some(&wanted) {
            write.resources.push(wanted.into());
        }
    }
    let pending = format!("{network}/securityGroups/{PENDING}");
    for port in found.ports.values() {
        let wanted = groups_of(compiled, pods, port, &pending, &mut write.elsewhere);
        let there: BTreeSet<&str> = port.security_groups.iter().map(String::as_str).collect();
        if there == wanted.groups.iter().map(String::as_str).collect() {
            continue;
        }
        if let Some(name) = wanted.pod.filter(|_| there.contains(pending.as_str())) {
            write.known.push(name.clone());
        }
        // Its etag goes along: a port that changed or went meanwhile is not written over.
        write.resources.push(v1::Port { security_groups: wanted.groups, ..port.clone() }.into());
    }
    // What refers to each other goes together, in one commit.
    let wanted: BTreeSet<&str> = compiled
        .groups
        .keys()
        .map(SecurityGroupName::as_str)
        .chain(compiled.lists.keys().map(PrefixListName::as_str))
        .collect();
    let found = found.groups.keys().chain(found.lists.keys());
    write.deleted = found.filter(|name| !wanted.contains(name.as_str())).cloned().collect();
    write
}

/// The groups that a port should have, and whose it is.
struct Wanted<'a> {
    groups: Vec<String>,
    pod: Option<&'a ObjectName>,
}

/// A port that is no pod's, or is on another host than its pod's node, is isolated: a host cannot give itself the rights of a pod that it
/// does not run.
fn groups_of<'a>(
    compiled: &Compiled,
    pods: &'a BTreeMap<&str, Placed>,
    port: &v1::Port,
    pending: &str,
    elsewhere: &mut Vec<ObjectName>,
) -> Wanted<'a> {
    let isolated = Wanted { groups: vec![pending.to_owned()], pod: None };
    let Some(placed) = port.labels.get(POD_UID).and_then(|uid| pods.get(uid.as_str())) else { return isolated };
    let Some(host) = &placed.host else { return isolated };
    if host.as_str() != port.host {
        elsewhere.push(placed.name.clone());
        return isolated;
    }
    let Some(groups) = compiled.members.get(&placed.name) else { return isolated };
    Wanted { groups: groups.iter().map(ToString::to_string).collect(), pod: Some(&placed.name) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;
    use crate::{Cluster, Namespace, Pod, Policy, compile};

    const NETWORK: &str = "tenants/k/networks/pods";

    /// One pod, isolated by one policy.
    fn compiled(policies: &[&str]) -> Compiled {
        let mut cluster = Cluster::default();
        cluster.namespaces.insert("x".to_owned(), Namespace::default());
        cluster.pods.insert(ObjectName::new("x", "a"), Pod::default());
        for name in policies {
            let name = ObjectName::new("x", *name);
            let peer = json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}});
            let spec = json!({"podSelector": {}, "ingress": [{"from": [peer, {"podSelector": {}}]}]});
            cluster.policies.insert(name.clone(), Policy::read(name, &spec).0);
        }
        compile(&NETWORK.parse().unwrap(), "c", &cluster).unwrap()
    }

    fn port(host: &str, uid: &str) -> v1::Port {
        v1::Port {
            name: format!("{NETWORK}/ports/pod-{uid}"),
            host: format!("hosts/{host}"),
            security_groups: vec![format!("{NETWORK}/securityGroups/{PENDING}")],
            labels: [(POD_UID.to_owned(), uid.to_owned())].into(),
            etag: "1-7".to_owned(),
            ..v1::Port::default()
        }
    }

    fn pods() -> BTreeMap<&'static str, Placed> {
        let placed = Placed { name: ObjectName::new("x", "a"), host: Some("hosts/h1".parse().unwrap()) };
        [("u1", placed)].into()
    }

    fn wanted(compiled: &Compiled, found: &Found) -> Write {
        write(&NETWORK.parse().unwrap(), compiled, found, &pods())
    }

    /// What there is after a write, numbered as the controller does.
    fn carry_out(found: &mut Found, write: Write) {
        for mut resource in write.resources {
            if let Some(Kind::SecurityGroup(group)) = &mut resource.kind {
                group.rules.iter_mut().for_each(|rule| rule.number = 4_711);
                group.revision = 9;
                group.etag = "1-9".to_owned();
            }
            found.take("c", resource);
        }
        write.deleted.iter().for_each(|name| found.remove(name));
    }

    #[test]
    fn what_is_written_needs_no_second_write_and_what_is_gone_goes() {
        let mut found = Found::default();
        found.take("c", port("h1", "u1").into());
        let first = wanted(&compiled(&["p", "q"]), &found);
        assert_eq!(first.known, [ObjectName::new("x", "a")]);
        carry_out(&mut found, first);
        assert_eq!(wanted(&compiled(&["p", "q"]), &found), Write::default());
        let fewer = wanted(&compiled(&["q"]), &found);
        assert_eq!((fewer.resources.len(), fewer.deleted.len()), (1, 1), "the port, and the group of the policy");
        carry_out(&mut found, fewer);
        let none = wanted(&compiled(&[]), &found);
        assert_eq!((none.resources.len(), none.deleted.len()), (1, 3), "the policy, its peers, and its block");
    }

    #[test]
    fn a_port_has_the_groups_of_its_pod_and_keeps_all_else() {
        let mut found = Found::default();
        found.take("c", port("h1", "u1").into());
        let write = wanted(&compiled(&[]), &found);
        let changed = write.resources.into_iter().find_map(|resource| v1::Port::try_from(resource).ok()).unwrap();
        assert_eq!(changed.security_groups, [format!("{NETWORK}/securityGroups/kube-open")]);
        assert_eq!(changed.etag, "1-7", "it is written only over what was seen");
    }

    #[test]
    fn a_port_that_is_no_pods_of_its_host_is_isolated() {
        let compiled = compiled(&[]);
        for (host, uid, elsewhere) in [("h2", "u1", 1), ("h1", "stranger", 0)] {
            let mut found = Found::default();
            let open = format!("{NETWORK}/securityGroups/kube-open");
            found.take("c", v1::Port { security_groups: vec![open], ..port(host, uid) }.into());
            let write = wanted(&compiled, &found);
            let changed = write.resources.into_iter().find_map(|resource| v1::Port::try_from(resource).ok()).unwrap();
            assert_eq!(changed.security_groups, [format!("{NETWORK}/securityGroups/{PENDING}")]);
            assert_eq!(write.elsewhere.len(), elsewhere);
        }
    }

    #[test]
    fn what_is_another_clusters_is_not_touched() {
        let mut found = Found::default();
        let other = v1::SecurityGroup {
            name: format!("{NETWORK}/securityGroups/np-other"),
            labels: [(CLUSTER_LABEL.to_owned(), "d".to_owned())].into(),
            ..v1::SecurityGroup::default()
        };
        found.take("c", other.into());
        found.take("c", v1::Port { labels: BTreeMap::new(), ..port("h1", "u1") }.into());
        assert_eq!(found, Found::default());
    }
}
