//! A cluster as a test writes it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use andromede_cluster::{Cluster, Namespace, ObjectName, Pod, PodPort, Policy};
use andromede_model::{Protocol, Violation};
use serde_json::{Value, json};

pub(crate) type Labels = BTreeMap<String, String>;

/// A pod.
#[derive(Clone, Debug)]
pub(crate) struct ScenePod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) v4: Ipv4Addr,
    /// Name, IP protocol number, number.
    pub(crate) ports: Vec<(String, u8, u16)>,
}

impl ScenePod {
    /// The IPv6 address has the digits of the IPv4 address.
    pub(crate) fn address(&self, v6: bool) -> IpAddr {
        let [a, b, c, d] = self.v4.octets().map(u16::from);
        if v6 { Ipv6Addr::new(0xfd00, 0, 0, 0, a, b, c, d).into() } else { self.v4.into() }
    }
}

/// A cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    pub(crate) namespaces: BTreeMap<String, Labels>,
    pub(crate) pods: Vec<ScenePod>,
    /// Whole objects of the API.
    pub(crate) policies: Vec<Value>,
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Scene {
    /// Namespaces x, y and z, labelled `ns`, with pods a, b and c, labelled `pod`, at 192.168.1.1 and so on: those of x are 1 to 3. Each
    /// has the named ports `web` and `dns`, which pods c have elsewhere.
    pub(crate) fn nine(policies: Vec<Value>) -> Self {
        let mut scene = Self { policies, ..Self::default() };
        for (row, namespace) in ["x", "y", "z"].into_iter().enumerate() {
            scene.namespaces.insert(namespace.to_owned(), labels(&[("ns", namespace)]));
            for (column, name) in ["a", "b", "c"].into_iter().enumerate() {
                let last = (row * 3 + column + 1) as u8;
                let web = if name == "c" { 8080 } else { 80 };
                scene.pods.push(ScenePod {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    labels: labels(&[("pod", name)]),
                    v4: Ipv4Addr::new(192, 168, 1, last),
                    ports: vec![("web".to_owned(), 6, web), ("dns".to_owned(), 17, 53), ("dns-tcp".to_owned(), 6, 53)],
                });
            }
        }
        scene
    }

    /// The place of a pod, "namespace/name".
    pub(crate) fn place(&self, pod: &str) -> usize {
        self.pods.iter().position(|it| format!("{}/{}", it.namespace, it.name) == pod).expect(pod)
    }

    /// As the crate takes it, and what of it could not be read.
    pub(crate) fn cluster(&self) -> (Cluster, Vec<Violation>) {
        let mut cluster = Cluster::default();
        for (name, labels) in &self.namespaces {
            cluster.namespaces.insert(name.clone(), Namespace { labels: labels.clone() });
        }
        for pod in &self.pods {
            let port = |(name, protocol, number): &(String, u8, u16)| PodPort {
                name: name.clone(),
                protocol: Protocol::Number(*protocol),
                number: *number,
            };
            let mut ports: Vec<PodPort> = pod.ports.iter().map(port).collect();
            ports.sort();
            let name = ObjectName::new(&pod.namespace, &pod.name);
            cluster.pods.insert(name, Pod { labels: pod.labels.clone(), ports });
        }
        let mut violations = Vec::new();
        for policy in &self.policies {
            let text = |field: &str| policy["metadata"][field].as_str().unwrap();
            let name = ObjectName::new(text("namespace"), text("name"));
            let (read, violation) = Policy::read(name.clone(), &policy["spec"]);
            violations.extend(violation);
            cluster.policies.insert(name, read);
        }
        (cluster, violations)
    }
}

/// An object of the API.
pub(crate) fn policy(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": namespace, "name": name}, "spec": spec})
}
