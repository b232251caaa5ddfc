//! `networking.k8s.io/v1`, `NetworkPolicySpec`, as the API has it. A field that is not here is an error: what a later version of
//! Kubernetes adds to a rule narrows it, and a rule read without it would allow too much.

use serde::Deserialize;
use serde_json::Value;

use crate::selector::LabelSelector;

/// `spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    pub(super) pod_selector: Option<LabelSelector>,
    pub(super) policy_types: Option<Vec<String>>,
    pub(super) ingress: Option<Vec<IngressRule>>,
    pub(super) egress: Option<Vec<EgressRule>>,
}

/// One of `ingress`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IngressRule {
    pub(super) from: Option<Vec<Peer>>,
    pub(super) ports: Option<Vec<Port>>,
}

/// One of `egress`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EgressRule {
    pub(super) to: Option<Vec<Peer>>,
    pub(super) ports: Option<Vec<Port>>,
}

/// One of `from` or `to`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Peer {
    pub(super) pod_selector: Option<LabelSelector>,
    pub(super) namespace_selector: Option<LabelSelector>,
    pub(super) ip_block: Option<IpBlock>,
}

/// `ipBlock`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IpBlock {
    pub(super) cidr: String,
    pub(super) except: Option<Vec<String>>,
}

/// One of `ports`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Port {
    pub(super) protocol: Option<String>,
    /// A number or a name.
    #[serde(rename = "port")]
    pub(super) first: Option<Value>,
    #[serde(rename = "endPort")]
    pub(super) last: Option<i64>,
}
