//! The network configuration on standard input (specification, section 1).

use std::{
    io::{self, Read},
    path::PathBuf,
};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    command::is_identifier,
    error::{CniError, code},
    version::{self, SUPPORTED},
};

/// Most bytes of standard input. A configuration has a few hundred; GC lists every attachment of a host.
const MAX_INPUT: u64 = 16 << 20;

/// The agent's socket, if the configuration names none.
const SOCKET: &str = "/run/andromede/agent.sock";

/// What every command but VERSION is given.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    /// Version of the specification.
    pub(crate) version: String,
    /// Name of the configuration.
    pub(crate) name: String,
    /// Network of the pods, "tenants/{tenant}/networks/{network}".
    pub(crate) network: String,
    /// Ids of security groups of the network.
    pub(crate) security_groups: Vec<String>,
    /// What the network's router is used for.
    pub(crate) routes: Vec<String>,
    /// Are packets between the node itself and its pods admitted?
    pub(crate) node_access: bool,
    /// Network by whose addresses the node knows its pods; empty: by their own.
    pub(crate) infrastructure_network: String,
    /// Seconds to wait for the groups that the operator of the cluster gives; 0: it gives none.
    pub(crate) policy_wait: u32,
    /// The agent's socket.
    pub(crate) socket: PathBuf,
    /// What the runtime asks for this container.
    pub(crate) runtime: Runtime,
    /// Name servers and the like, for the result.
    pub(crate) dns: Option<Value>,
    /// What the plugins before this one made, or what this one did.
    pub(crate) previous: Option<Map<String, Value>>,
    /// GC: what is still valid.
    pub(crate) valid: Option<Vec<ValidAttachment>>,
}

/// `runtimeConfig`: what the capabilities of the configuration let through.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Runtime {
    /// Ethernet address.
    pub(crate) mac: Option<String>,
    /// Addresses, with or without "/length".
    #[serde(default)]
    pub(crate) ips: Vec<String>,
    /// Limits of bandwidth.
    bandwidth: Option<Value>,
    /// All annotations of the pod. Nothing is decided by them: whoever writes a pod would choose its own rights.
    #[serde(rename = "io.kubernetes.cri.pod-annotations")]
    _annotations: Option<Value>,
}

/// An element of `cni.dev/valid-attachments`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ValidAttachment {
    /// The container.
    #[serde(rename = "containerID")]
    pub(crate) container_id: String,
    /// The interface inside.
    pub(crate) ifname: String,
}

/// The fields that are known. Those without a meaning for this plugin are the specification's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    network: Option<String>,
    #[serde(default)]
    security_groups: Vec<String>,
    routes: Option<Vec<WireRoute>>,
    #[serde(default)]
    node_access: bool,
    #[serde(default)]
    infrastructure_network: String,
    #[serde(default)]
    network_policy: bool,
    policy_wait_seconds: Option<u32>,
    socket: Option<PathBuf>,
    #[serde(default)]
    runtime_config: Runtime,
    dns: Option<Value>,
    prev_result: Option<Map<String, Value>>,
    #[serde(rename = "cni.dev/valid-attachments")]
    valid: Option<Vec<ValidAttachment>>,
}

/// A route of the configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRoute {
    dst: String,
}

/// Seconds that an addition waits for the groups that the operator of the cluster gives, if the configuration does not say.
const POLICY_WAIT: u32 = 10;

/// What the router is used for if the configuration does not say.
const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// Every field that may stand in a configuration.
const FIELDS: [&str; 19] = [
    "cniVersion",
    "name",
    "type",
    "capabilities",
    "args",
    "runtimeConfig",
    "prevResult",
    "dns",
    "disableCheck",
    "disableGC",
    "cni.dev/valid-attachments",
    "network",
    "securityGroups",
    "routes",
    "nodeAccess",
    "infrastructureNetwork",
    "networkPolicy",
    "policyWaitSeconds",
    "socket",
];

/// Reads standard input to its end.
pub(crate) fn read_input(input: impl Read) -> Result<Vec<u8>, CniError> {
    let mut bytes = Vec::new();
    let failed =
        |error: io::Error| CniError::new(code::INPUT_OUTPUT, "standard input cannot be read", error.to_string());
    input.take(MAX_INPUT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(CniError::decoding(format!("standard input is larger than {MAX_INPUT} bytes")));
    }
    Ok(bytes)
}

/// The JSON object on standard input.
pub(crate) fn object(input: &[u8]) -> Result<Map<String, Value>, CniError> {
    match serde_json::from_slice(input) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(CniError::decoding("it is JSON, but not an object")),
        Err(error) => Err(CniError::decoding(error.to_string())),
    }
}

/// A field that must be text.
pub(crate) fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, CniError> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(CniError::decoding(format!("{name} is {other}, but should be text"))),
    }
}

/// Reads and checks a configuration.
pub(crate) fn parse(input: &[u8]) -> Result<Configuration, CniError> {
    let fields = object(input)?;
    // Configurations without a version are of 0.1.0, says the specification; nobody speaks it any more.
    let version = text(&fields, "cniVersion")?.unwrap_or("0.1.0").to_owned();
    if !SUPPORTED.contains(&version.as_str()) {
        return Err(version::incompatible(&version));
    }
    read(fields, &version).map_err(|error| CniError { version: Some(version), ..error })
}

fn read(fields: Map<String, Value>, version: &str) -> Result<Configuration, CniError> {
    let name = text(&fields, "name")?.unwrap_or_default().to_owned();
    if !is_identifier(&name) {
        return Err(CniError::configuration(format!(
            "name {name:?}: a name begins with a letter or digit and goes on with letters, digits, '_', '.' and '-'"
        )));
    }
    if let Some((field, value)) = fields.iter().find(|(field, _)| !FIELDS.contains(&field.as_str())) {
        let known = FIELDS.join(", ");
        let details = format!("{field} = {value}: this plugin knows {known}; correct the field, or remove it");
        return Err(CniError::new(code::UNSUPPORTED_FIELD, "a field of the configuration is not supported", details));
    }
    let wire: Wire = serde_json::from_value(Value::Object(fields)).map_err(|error| {
        // What serde says of a field that it does not know is the only place that names it.
        if error.to_string().starts_with("unknown field") {
            let message = "a capability of the configuration is not supported";
            return CniError::new(code::UNSUPPORTED_FIELD, message, format!("runtimeConfig: {error}"));
        }
        CniError::decoding(error.to_string())
    })?;
    if let Some(bandwidth) = wire.runtime_config.bandwidth {
        let details = format!(
            "runtimeConfig.bandwidth = {bandwidth}: limits belong to the port, and whoever writes a pod would choose its own; remove the capability"
        );
        return Err(CniError::new(
            code::UNSUPPORTED_FIELD,
            "a capability of the configuration is not supported",
            details,
        ));
    }
    let policy_wait = match (wire.network_policy, wire.policy_wait_seconds) {
        (false, None) => 0,
        (true, seconds @ (None | Some(1..=60))) => seconds.unwrap_or(POLICY_WAIT),
        (true, Some(seconds)) => {
            let details = format!("policyWaitSeconds = {seconds}: an addition waits 1 to 60 seconds");
            return Err(CniError::configuration(details));
        }
        (false, Some(_)) => {
            let details = "policyWaitSeconds without networkPolicy: set `\"networkPolicy\": true`, or remove it";
            return Err(CniError::configuration(details));
        }
    };
    if policy_wait > 0 && wire.security_groups.is_empty() {
        let details = "networkPolicy without securityGroups: a pod without groups may send everything until the operator of the cluster \
                       knows it; give it the group that refuses that, [\"kube-pending\"]";
        return Err(CniError::configuration(details));
    }
    let missing = || {
        CniError::configuration("network is missing: name the network of the pods, \"tenants/TENANT/networks/NETWORK\"")
    };
    Ok(Configuration {
        version: version.to_owned(),
        name,
        network: wire.network.ok_or_else(missing)?,
        security_groups: wire.security_groups,
        routes: match wire.routes {
            Some(routes) => routes.into_iter().map(|route| route.dst).collect(),
            None => EVERYWHERE.map(str::to_owned).to_vec(),
        },
        node_access: wire.node_access,
        infrastructure_network: wire.infrastructure_network,
        policy_wait,
        socket: wire.socket.unwrap_or_else(|| SOCKET.into()),
        runtime: wire.runtime_config,
        dns: wire.dns,
        previous: wire.prev_result,
        valid: wire.valid,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const NETWORK: &str = "tenants/t/networks/n";

    fn with(fields: &str) -> Result<Configuration, CniError> {
        let text = format!(
            r#"{{"cniVersion": "1.1.0", "name": "pods", "type": "andromede-cni", "network": "{NETWORK}"{fields}}}"#
        );
        parse(text.as_bytes())
    }

    #[test]
    fn a_configuration_is_read() {
        assert!(!with("").unwrap().node_access, "it is asked for, or not there");
        let read = with(
            r#", "nodeAccess": true, "securityGroups": ["web"], "capabilities": {"mac": true, "ips": true}, "args": {},
            "runtimeConfig": {"mac": "02:00:00:00:00:07", "ips": ["10.1.0.7/24"], "io.kubernetes.cri.pod-annotations": {"a": "b"}},
            "cni.dev/valid-attachments": [{"containerID": "c", "ifname": "eth0"}]"#,
        );
        let read = read.unwrap();
        assert_eq!((read.version.as_str(), read.name.as_str(), read.network.as_str()), ("1.1.0", "pods", NETWORK));
        assert_eq!((read.runtime.mac.as_deref(), read.runtime.ips.len()), (Some("02:00:00:00:00:07"), 1));
        assert_eq!((read.security_groups.len(), read.valid.unwrap().len()), (1, 1));
        assert_eq!((read.socket, read.node_access), (PathBuf::from(SOCKET), true));
        let known = with(r#", "infrastructureNetwork": "tenants/cluster/networks/pods""#).unwrap();
        assert_eq!((read.infrastructure_network.as_str(), known.infrastructure_network.len()), ("", 29));
    }

    #[test]
    fn policies_are_waited_for_with_a_group_that_refuses() {
        let wait = |fields: &str| with(fields).map(|read| read.policy_wait).map_err(|error| error.details);
        let groups = r#", "securityGroups": ["kube-pending"], "networkPolicy": true"#;
        assert_eq!((wait(""), wait(groups)), (Ok(0), Ok(POLICY_WAIT)));
        assert_eq!(wait(&format!("{groups}, \"policyWaitSeconds\": 3")), Ok(3));
        for (fields, says) in [
            (r#", "networkPolicy": true"#.to_owned(), "kube-pending"),
            (r#", "policyWaitSeconds": 3"#.to_owned(), "networkPolicy"),
            (format!("{groups}, \"policyWaitSeconds\": 0"), "1 to 60"),
            (format!("{groups}, \"policyWaitSeconds\": 61"), "1 to 60"),
        ] {
            assert!(wait(&fields).unwrap_err().contains(says), "{fields}");
        }
    }

    #[test]
    fn what_is_wrong_has_its_code() {
        let cases: [(&[u8], u32); 9] = [
            (b"", code::DECODING),
            (b"{", code::DECODING),
            (b"[]", code::DECODING),
            (b"\xff", code::DECODING),
            (br#"{"cniVersion": 1}"#, code::DECODING),
            (br#"{"name": "x"}"#, code::INCOMPATIBLE_VERSION),
            (br#"{"cniVersion": "2.0.0", "name": "x"}"#, code::INCOMPATIBLE_VERSION),
            (br#"{"cniVersion": "1.1.0"}"#, code::INVALID_CONFIGURATION),
            (br#"{"cniVersion": "1.1.0", "name": "a b"}"#, code::INVALID_CONFIGURATION),
        ];
        for (input, code) in cases {
            assert_eq!(parse(input).unwrap_err().code, code, "{}", String::from_utf8_lossy(input));
        }
        assert_eq!(parse(br#"{"cniVersion": "1.1.0", "name": "x"}"#).unwrap_err().code, code::INVALID_CONFIGURATION);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_key_and_value() {
        for (fields, key, value) in [
            (r#", "ipam": {"type": "host-local"}"#, "ipam", "host-local"),
            (r#", "isGateway": true"#, "isGateway", "true"),
            (r#", "runtimeConfig": {"bandwidth": {"ingressRate": 5}}"#, "bandwidth", "5"),
            (r#", "runtimeConfig": {"infinibandGUID": "x"}"#, "infinibandGUID", "runtimeConfig"),
        ] {
            let error = with(fields).unwrap_err();
            assert_eq!(error.code, code::UNSUPPORTED_FIELD, "{error}");
            assert!(error.details.contains(key) && error.details.contains(value), "{error}");
            assert_eq!(error.version.as_deref(), Some("1.1.0"));
        }
    }

    #[test]
    fn endless_input_is_refused() {
        assert_eq!(read_input(io::repeat(b' ')).unwrap_err().code, code::DECODING);
    }
}
