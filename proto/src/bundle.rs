//! Bundles: resources as people write them, in YAML.
//!
//! A bundle is a stream of documents. Each says what it is by `kind` (`Tenant`, `Network`, `Subnet`, `Port`, `SecurityGroup`,
//! `Host`, `Vtep`); the fields of that message stand beside it.

use andromede_model::{ResourceKind, Violation, limits};
use prost::{Message, Name};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    json::{JsonError, from_json, to_plain_json},
    v1::{Resource, resource::Kind},
};

/// Longest bundle, in bytes.
pub const LONGEST: usize = 32 << 20;

/// The resources of a bundle, or everything that is wrong with it. Paths begin with `documents[0]`; documents without content
/// are not counted, so `documents[3]` is `resources[3]` of the call.
pub fn parse(text: &str) -> Result<Vec<Resource>, Vec<Violation>> {
    let refuse = |field: &str, value: String, rule: String, fix: &str| vec![Violation::new(field, value, rule, fix)];
    if text.len() > LONGEST {
        let rule = format!("a bundle has at most {LONGEST} bytes");
        return Err(refuse("bundle", format!("{} bytes", text.len()), rule, "divide it into several bundles"));
    }
    let mut resources = Vec::new();
    let mut violations = Vec::new();
    let mut count = 0usize;
    for document in serde_norway::Deserializer::from_str(text) {
        let path = format!("documents[{count}]");
        match Value::deserialize(document) {
            Ok(Value::Null) => continue,
            Ok(value) => match read(value, &path) {
                Ok(resource) => resources.push(resource),
                Err(mut found) => violations.append(&mut found),
            },
            Err(error) => {
                // Behind an error of the syntax nothing can be told apart.
                let fix = "look at the indentation and the quotes there";
                violations.extend(refuse(&path, error.to_string(), "a document is well-formed YAML".into(), fix));
                break;
            }
        }
        count += 1;
        if count > limits::RESOURCES_PER_WRITE {
            let rule = format!("a bundle has at most {} resources", limits::RESOURCES_PER_WRITE);
            return Err(refuse("bundle", count.to_string(), rule, "divide it into several bundles"));
        }
    }
    if violations.is_empty() { Ok(resources) } else { Err(violations) }
}

/// One document.
fn read(value: Value, path: &str) -> Result<Resource, Vec<Violation>> {
    let kinds = || ResourceKind::ALL.map(ResourceKind::name).join(", ");
    let refuse = |field: String, value: &str, rule: String| {
        vec![Violation::new(field, value, rule, format!("write \"kind: \" and one of {}", kinds()))]
    };
    let Value::Object(mut fields) = value else {
        return Err(refuse(path.into(), "", "a document is a group of fields".into()));
    };
    let at = format!("{path}.kind");
    let kind = match fields.remove("kind") {
        Some(Value::String(kind)) => kind,
        Some(other) => return Err(refuse(at, &other.to_string(), "the kind is a name".into())),
        None => return Err(refuse(at, "", "a document says what it is by its kind".into())),
    };
    let Some(known) = ResourceKind::ALL.into_iter().find(|known| known.name() == kind) else {
        return Err(refuse(at, &kind, "there is no such kind".into()));
    };
    let fields = Value::Object(fields);
    let kind = match known {
        ResourceKind::Tenant => Kind::Tenant(from_json(fields, path)?),
        ResourceKind::Host => Kind::Host(from_json(fields, path)?),
        ResourceKind::Network => Kind::Network(from_json(fields, path)?),
        ResourceKind::Subnet => Kind::Subnet(from_json(fields, path)?),
        ResourceKind::SecurityGroup => Kind::SecurityGroup(from_json(fields, path)?),
        ResourceKind::Port => Kind::Port(from_json(fields, path)?),
        ResourceKind::Vtep => Kind::Vtep(from_json(fields, path)?),
    };
    Ok(Resource { kind: Some(kind) })
}

/// A resource as a document of a bundle: what [`parse`] reads.
pub fn document(resource: &Resource) -> Result<Value, JsonError> {
    fn fields<M: Message + Name>(kind: ResourceKind, message: &M) -> Result<Value, JsonError> {
        let mut document = Map::new();
        document.insert("kind".into(), kind.name().into());
        if let Value::Object(mut fields) = to_plain_json(message)? {
            document.append(&mut fields);
        }
        Ok(Value::Object(document))
    }
    match &resource.kind {
        None => Ok(Value::Null),
        Some(Kind::Tenant(tenant)) => fields(ResourceKind::Tenant, tenant),
        Some(Kind::Host(host)) => fields(ResourceKind::Host, host),
        Some(Kind::Network(network)) => fields(ResourceKind::Network, network),
        Some(Kind::Subnet(subnet)) => fields(ResourceKind::Subnet, subnet),
        Some(Kind::SecurityGroup(group)) => fields(ResourceKind::SecurityGroup, group),
        Some(Kind::Port(port)) => fields(ResourceKind::Port, port),
        Some(Kind::Vtep(vtep)) => fields(ResourceKind::Vtep, vtep),
    }
}

/// Resources as a bundle in YAML.
pub fn write(resources: &[Resource]) -> Result<String, JsonError> {
    let mut text = String::new();
    for resource in resources {
        let document = document(resource)?;
        let yaml = serde_norway::to_string(&document)
            .map_err(|error| JsonError { message: "andromede.v1.Resource".into(), reason: error.to_string() })?;
        text.push_str("---\n");
        text.push_str(&yaml);
    }
    Ok(text)
}
