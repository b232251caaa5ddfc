//! The result of ADD (specification, section 5, "Success"), and what is read in one that comes back as `prevResult`.

use andromede_proto::local::v1::PodInterface;
use serde_json::{Map, Value, json};

use crate::error::CniError;

/// The version before 1.0.0, whose addresses name their family.
const WITH_FAMILY: &str = "0.4.0";
/// The first version whose interfaces have an MTU.
const WITH_MTU: &str = "1.1.0";

/// The result: what the plugins before this one made, and the interface.
pub(crate) fn added(
    version: &str,
    netns: &str,
    made: &PodInterface,
    previous: Option<Map<String, Value>>,
    dns: Option<Value>,
) -> Result<Value, CniError> {
    let mut result = previous.unwrap_or_default();
    result.insert("cniVersion".to_owned(), version.into());
    let interfaces = list(&mut result, "interfaces")?;
    let mut inside = json!({"name": made.interface, "mac": made.mac, "sandbox": netns});
    let mut outside = json!({"name": made.host_interface, "mac": made.host_mac});
    if version == WITH_MTU {
        for interface in [&mut inside, &mut outside] {
            insert(interface, "mtu", made.mtu.into());
        }
    }
    interfaces.push(outside);
    let index = interfaces.len();
    interfaces.push(inside);
    let ips = list(&mut result, "ips")?;
    for leased in &made.addresses {
        let mut ip = json!({"address": leased.address, "interface": index});
        // An address that stands for the container's own is in no subnet.
        if !leased.gateway.is_empty() {
            insert(&mut ip, "gateway", leased.gateway.clone().into());
        }
        if version == WITH_FAMILY {
            insert(&mut ip, "version", if leased.address.contains(':') { "6" } else { "4" }.into());
        }
        ips.push(ip);
    }
    let routes = list(&mut result, "routes")?;
    routes.extend(made.routes.iter().map(|route| json!({"dst": route.destination, "gw": route.gateway})));
    if let Some(dns) = dns {
        result.insert("dns".to_owned(), dns);
    }
    Ok(Value::Object(result))
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(key.to_owned(), value);
    }
}

/// A list of the result, made if it is not there.
fn list<'a>(result: &'a mut Map<String, Value>, name: &str) -> Result<&'a mut Vec<Value>, CniError> {
    match result.entry(name).or_insert_with(|| json!([])) {
        Value::Array(list) => Ok(list),
        other => Err(CniError::decoding(format!("prevResult.{name} is {other}, but should be a list"))),
    }
}

/// What the runtime remembers of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// Its addresses, with the length of their prefix.
    pub(crate) addresses: Vec<String>,
    /// Its Ethernet address; empty if the result has none.
    pub(crate) mac: String,
}

/// Finds an interface of a container in a result.
pub(crate) fn remembered(previous: &Map<String, Value>, interface: &str) -> Result<Remembered, CniError> {
    let of = |name: &str| previous.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_it = |value: &Value| {
        let inside = value.get("sandbox").and_then(Value::as_str).is_some_and(|sandbox| !sandbox.is_empty());
        inside && value.get("name").and_then(Value::as_str) == Some(interface)
    };
    let interfaces = of("interfaces");
    let Some((index, found)) = interfaces.iter().enumerate().find(|(_, value)| is_it(value)) else {
        return Err(CniError::configuration(format!("prevResult has no interface {interface} of the container")));
    };
    let has = |ip: &&Value| ip.get("interface").and_then(Value::as_u64) == Some(index as u64);
    let address = |ip: &Value| ip.get("address").and_then(Value::as_str).map(str::to_owned);
    Ok(Remembered {
        addresses: of("ips").iter().filter(has).filter_map(address).collect(),
        mac: found.get("mac").and_then(Value::as_str).unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use andromede_proto::local::v1::{LeasedAddress, Route};

    use super::*;

    fn made() -> PodInterface {
        let leased = |address: &str, gateway: &str| LeasedAddress { address: address.into(), gateway: gateway.into() };
        PodInterface {
            interface: "eth0".into(),
            mac: "0e:ad:0a:01:00:05".into(),
            mtu: 1450,
            host_interface: "amd1".into(),
            host_mac: "02:00:00:00:00:01".into(),
            addresses: vec![leased("10.1.0.5/24", "10.1.0.1"), leased("fd00::5/64", "fd00::1")],
            port: String::new(),
            routes: vec![Route { destination: "::/0".into(), gateway: "fd00::1".into() }],
        }
    }

    #[test]
    fn the_result_is_as_each_version_wants_it() {
        let result = added("0.4.0", "/ns", &made(), None, None).unwrap();
        assert_eq!(
            result["ips"][0],
            json!({"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 1, "version": "4"})
        );
        assert_eq!(result["ips"][1]["version"], "6");
        assert_eq!(result["interfaces"][1], json!({"name": "eth0", "mac": "0e:ad:0a:01:00:05", "sandbox": "/ns"}));
        assert_eq!(result["routes"][0], json!({"dst": "::/0", "gw": "fd00::1"}));
        let result = added("1.0.0", "/ns", &made(), None, Some(json!({"nameservers": ["10.1.0.2"]}))).unwrap();
        assert_eq!(result["ips"][0], json!({"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 1}));
        assert_eq!(result["dns"], json!({"nameservers": ["10.1.0.2"]}));
        let result = added("1.1.0", "/ns", &made(), None, None).unwrap();
        assert_eq!((&result["interfaces"][0]["mtu"], &result["interfaces"][1]["mtu"]), (&json!(1450), &json!(1450)));
    }

    #[test]
    fn an_address_that_stands_for_another_has_no_router() {
        let known = LeasedAddress { address: "10.244.0.7/32".into(), gateway: String::new() };
        let result = added("1.0.0", "/ns", &PodInterface { addresses: vec![known], ..made() }, None, None).unwrap();
        assert_eq!(result["ips"], json!([{"address": "10.244.0.7/32", "interface": 1}]));
    }

    #[test]
    fn what_was_made_before_is_passed_on() {
        let previous = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "lo", "sandbox": "/ns"}],
            "ips": [{"address": "127.0.0.1/8", "interface": 0}], "sysctl": {"a": "b"}});
        let Value::Object(previous) = previous else { panic!() };
        let result = added("1.0.0", "/ns", &made(), Some(previous), None).unwrap();
        assert_eq!(result["interfaces"].as_array().unwrap().len(), 3);
        assert_eq!((&result["ips"][0]["interface"], &result["ips"][1]["interface"]), (&json!(0), &json!(2)));
        assert_eq!(result["sysctl"], json!({"a": "b"}));
        let Value::Object(result) = result else { panic!() };
        let found = remembered(&result, "eth0").unwrap();
        assert_eq!(found.addresses, ["10.1.0.5/24", "fd00::5/64"]);
        assert_eq!(found.mac, "0e:ad:0a:01:00:05");
        assert!(remembered(&result, "eth1").is_err());
        assert!(remembered(&result, "amd1").is_err(), "the host side is not the container's");
    }
}
