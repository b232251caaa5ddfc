//! Objects of the API with only those fields that are read or written here: what is not read is not kept.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::{ClusterResourceScope, NamespaceResourceScope},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! objects {
    ($($(#[$doc:meta])* $object:ident $kind:literal $group:literal $version:literal $plural:literal $scope:ty { $($field:ident: $type:ty),* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $object {
            #[serde(default)]
            pub(crate) metadata: ObjectMeta,
            $(
                #[serde(default)]
                pub(crate) $field: $type,
            )*
        }

        impl Resource for $object {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> Cow<'_, str> {
                $version.into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    )* };
}

objects! {
    /// A namespace.
    NamespaceObject "Namespace" "" "v1" "namespaces" ClusterResourceScope {}
    /// A node.
    NodeObject "Node" "" "v1" "nodes" ClusterResourceScope {}
    /// A pod.
    PodObject "Pod" "" "v1" "pods" NamespaceResourceScope { spec: PodSpec, status: PodStatus }
    /// A policy; what it says is read elsewhere, with all its fields.
    PolicyObject "NetworkPolicy" "networking.k8s.io" "v1" "networkpolicies" NamespaceResourceScope { spec: Value }
    /// Something that people should know of an object.
    EventObject "Event" "" "v1" "events" NamespaceResourceScope {
        involved_object: Value, r#type: String, reason: String, message: String, count: u32, first_timestamp: Option<String>,
        last_timestamp: Option<String>, source: Value
    }
    /// A lease: which of several operators writes.
    LeaseObject "Lease" "coordination.k8s.io" "v1" "leases" NamespaceResourceScope { spec: LeaseSpec }
}

/// `spec` of a pod.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    pub(crate) node_name: Option<String>,
    pub(crate) host_network: bool,
    pub(crate) containers: Vec<Container>,
}

/// A container.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    pub(crate) ports: Vec<ContainerPort>,
}

/// A port of a container.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerPort {
    pub(crate) name: Option<String>,
    #[serde(rename = "containerPort")]
    pub(crate) number: i32,
    pub(crate) protocol: Option<String>,
}

/// `status` of a pod.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    pub(crate) phase: Option<String>,
    #[serde(rename = "podIP")]
    pub(crate) pod_ip: Option<String>,
}

/// `spec` of a lease. Times are texts of RFC 3339 with microseconds, as the API has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeaseSpec {
    pub(crate) holder_identity: Option<String>,
    pub(crate) lease_duration_seconds: Option<i32>,
    pub(crate) acquire_time: Option<String>,
    pub(crate) renew_time: Option<String>,
    pub(crate) lease_transitions: Option<i32>,
}
