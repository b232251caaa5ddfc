//! A resource as people write it: one YAML or JSON document with its `kind` beside its fields.
//!
//! Field names are accepted as `camelCase` and as `snake_case`, enums in lower case without their prefix ("ingress"),
//! and numbers where a string of digits is meant. Everything else is refused, by field, with all errors at once.

use std::collections::HashMap;

use andromede_model::Violation;
use prost_reflect::{
    Cardinality, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _,
    Value as Field,
};
use serde_json::{Map, Value};

use crate::{
    json::{JsonError, descriptor, to_dynamic},
    v1,
};

/// Not written: a document says what shall be, whatever it is now. Whoever adds it has a condition.
const ETAG: &str = "etag";

/// Names that `kind` may have, in the order of the schema.
pub fn kinds() -> Result<Vec<String>, JsonError> {
    Ok(descriptor("andromede.v1.Resource")?.fields().filter_map(|field| kind_of(&field)).collect())
}

/// Reads one document, or says all that is wrong with it.
pub fn read(document: &Value) -> Result<v1::Resource, Vec<Violation>> {
    let resource = descriptor("andromede.v1.Resource").map_err(|error| vec![schema_error(&error)])?;
    let Value::Object(fields) = document else {
        return Err(vec![wrong("document", document, "a document is a mapping of fields", "begin with `kind: Port`")]);
    };
    let kind = find_kind(&resource, fields.get("kind")).map_err(|error| vec![error])?;
    let Kind::Message(message) = kind.kind() else { return Err(vec![]) };
    let mut reader = Reader { errors: Vec::new() };
    let inner = reader.message(&message, fields, "", Some("kind"));
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    let mut outer = DynamicMessage::new(resource);
    outer.set_field(&kind, Field::Message(inner));
    outer.transcode_to().map_err(|error| vec![schema_error(&JsonError::Decode(error))])
}

/// Writes a resource as a document that [`read`] accepts; fields that hold their default are left out.
pub fn write(resource: &v1::Resource) -> Result<Value, JsonError> {
    let outer = to_dynamic(resource)?;
    let mut document = Map::new();
    for (field, value) in outer.fields() {
        if let (Some(kind), Field::Message(inner)) = (kind_of(&field), value) {
            document.insert("kind".to_owned(), Value::String(kind));
            document.extend(write_message(inner));
        }
    }
    Ok(Value::Object(document))
}

fn kind_of(field: &FieldDescriptor) -> Option<String> {
    match field.kind() {
        Kind::Message(message) => Some(message.name().to_owned()),
        _ => None,
    }
}

fn schema_error(error: &JsonError) -> Violation {
    Violation::new("document", "the schema", error.to_string(), "report it")
}

/// What was found, as it was written.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn wrong(field: &str, value: &Value, rule: &str, fix: &str) -> Violation {
    Violation::new(field, shown(value), rule, fix)
}

fn find_kind(resource: &MessageDescriptor, kind: Option<&Value>) -> Result<FieldDescriptor, Violation> {
    let kinds: Vec<String> = resource.fields().filter_map(|field| kind_of(&field)).collect();
    let one_of = format!("write one of: {}", kinds.join(", "));
    let Some(Value::String(name)) = kind else {
        let found = kind.cloned().unwrap_or(Value::Null);
        return Err(wrong("kind", &found, "every document names its kind", &one_of));
    };
    resource
        .fields()
        .find(|field| kind_of(field).as_deref() == Some(name))
        .ok_or_else(|| wrong("kind", &Value::String(name.clone()), "there is no such kind", &one_of))
}

/// Gathers errors while it reads.
struct Reader {
    errors: Vec<Violation>,
}

impl Reader {
    fn refuse(&mut self, path: &str, value: &Value, rule: &str, fix: &str) {
        self.errors.push(wrong(path, value, rule, fix));
    }

    fn message(
        &mut self,
        descriptor: &MessageDescriptor,
        fields: &Map<String, Value>,
        path: &str,
        skip: Option<&str>,
    ) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for (name, value) in fields.iter().filter(|(name, _)| Some(name.as_str()) != skip) {
            // A key without a letter is a field too, and is shown as what it is.
            let shown = if name.is_empty() { "\"\"" } else { name };
            let place = if path.is_empty() { shown.to_owned() } else { format!("{path}.{shown}") };
            let found = descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name));
            let Some(field) = found else {
                let names: Vec<String> = descriptor.fields().map(|field| field.json_name().to_owned()).collect();
                let rule = format!("a {} has no such field", descriptor.name());
                self.refuse(&place, value, &rule, &format!("it has: {}", names.join(", ")));
                continue;
            };
            // An empty field of a document is as good as none.
            if value.is_null() {
                continue;
            }
            if message.has_field(&field) {
                self.refuse(&place, value, "the field is given twice", "keep one spelling of it");
                continue;
            }
            let rival =
                field.containing_oneof().and_then(|oneof| oneof.fields().find(|other| message.has_field(other)));
            if let Some(rival) = rival {
                let rule = format!("only one of {} and {} may be given", rival.json_name(), field.json_name());
                self.refuse(&place, value, &rule, "keep one of them");
                continue;
            }
            if let Some(read) = self.field(&field, value, &place) {
                message.set_field(&field, read);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor, value: &Value, path: &str) -> Option<Field> {
        if field.is_map() {
            return self.map(value, path);
        }
        if field.cardinality() != Cardinality::Repeated {
            return self.single(&field.kind(), value, path);
        }
        let Value::Array(items) = value else {
            self.refuse(path, value, "the field is a list", "write it in brackets: [a, b]");
            return None;
        };
        let read = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| self.single(&field.kind(), item, &format!("{path}[{index}]")))
            .collect();
        Some(Field::List(read))
    }

    /// A map from text to text: the schema of resources has no other.
    fn map(&mut self, value: &Value, path: &str) -> Option<Field> {
        let Value::Object(entries) = value else {
            self.refuse(path, value, "the field is a mapping", "write it as {key: value}");
            return None;
        };
        let mut map = HashMap::new();
        for (key, value) in entries {
            if let Some(value) = self.single(&Kind::String, value, &format!("{path}.{key}")) {
                map.insert(MapKey::String(key.clone()), value);
            }
        }
        Some(Field::Map(map))
    }

    fn single(&mut self, kind: &Kind, value: &Value, path: &str) -> Option<Field> {
        let read = match (kind, value) {
            (Kind::Message(inner), Value::Object(fields)) => {
                return Some(Field::Message(self.message(inner, fields, path, None)));
            }
            (Kind::Enum(inner), Value::String(name)) => read_enum(inner, name),
            (Kind::String, Value::String(text)) => Some(Field::String(text.clone())),
            // `ports: [80]` and `protocol: 6` mean strings of digits.
            (Kind::String, Value::Number(number)) if number.is_u64() => Some(Field::String(number.to_string())),
            (Kind::Bool, Value::Bool(flag)) => Some(Field::Bool(*flag)),
            (Kind::Uint32, _) => whole_number(value).and_then(|n| u32::try_from(n).ok()).map(Field::U32),
            (Kind::Uint64, _) => whole_number(value).map(Field::U64),
            (Kind::Int64, _) => whole_number(value).and_then(|n| i64::try_from(n).ok()).map(Field::I64),
            _ => None,
        };
        if read.is_none() {
            let (rule, fix) = expectation(kind);
            self.refuse(path, value, &rule, &fix);
        }
        read
    }
}

fn whole_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// What a field of this kind may hold, and how to write it.
fn expectation(kind: &Kind) -> (String, String) {
    match kind {
        Kind::Message(inner) => {
            let names: Vec<String> = inner.fields().map(|field| field.json_name().to_owned()).collect();
            (format!("the field is a {}", inner.name()), format!("write a mapping with: {}", names.join(", ")))
        }
        Kind::Enum(inner) => {
            let names: Vec<String> = short_names(inner).map(|(name, _)| name).collect();
            (format!("no such {}", inner.name().to_lowercase()), format!("write one of: {}", names.join(", ")))
        }
        Kind::String => ("the field is text".to_owned(), "put it in quotes".to_owned()),
        Kind::Bool => ("the field is true or false".to_owned(), "write true or false".to_owned()),
        Kind::Uint32 => ("the field is a whole number of 0 to 4294967295".to_owned(), "write digits".to_owned()),
        _ => ("the field is a whole number".to_owned(), "write digits".to_owned()),
    }
}

/// Values of an enum without the prefix that protobuf wants and without the unspecified one.
fn short_names(descriptor: &EnumDescriptor) -> impl Iterator<Item = (String, i32)> {
    let prefix = format!("{}_", descriptor.name().to_uppercase());
    let values: Vec<(String, i32)> = descriptor
        .values()
        .filter(|value| value.number() != 0)
        .map(|value| (value.name().trim_start_matches(&prefix).to_lowercase(), value.number()))
        .collect();
    values.into_iter()
}

fn read_enum(descriptor: &EnumDescriptor, name: &str) -> Option<Field> {
    let short = short_names(descriptor).find(|(short, _)| short == name).map(|(_, number)| number);
    let number =
        short.or_else(|| descriptor.get_value_by_name(name).map(|value| value.number()).filter(|number| *number != 0));
    number.map(Field::EnumNumber)
}

fn write_message(message: &DynamicMessage) -> Map<String, Value> {
    let mut map = Map::new();
    // Field numbers ascend, so that names come first.
    for field in message.descriptor().fields().filter(|field| message.has_field(field) && field.name() != ETAG) {
        map.insert(field.json_name().to_owned(), write_field(&field.kind(), message.get_field(&field).as_ref()));
    }
    map
}

fn write_field(kind: &Kind, value: &Field) -> Value {
    match value {
        Field::Bool(flag) => Value::Bool(*flag),
        Field::I32(number) => Value::from(*number),
        Field::I64(number) => Value::from(*number),
        Field::U32(number) => Value::from(*number),
        Field::U64(number) => Value::from(*number),
        Field::String(text) => Value::String(text.clone()),
        Field::EnumNumber(number) => write_enum(kind, *number),
        Field::Message(inner) => Value::Object(write_message(inner)),
        Field::List(items) => Value::Array(items.iter().map(|item| write_field(kind, item)).collect()),
        Field::Map(map) => {
            let entry = |(key, value): (&MapKey, &Field)| {
                (key.as_str().unwrap_or_default().to_owned(), write_field(&Kind::String, value))
            };
            Value::Object(map.iter().map(entry).collect())
        }
        // Resources have no other fields.
        Field::F32(_) | Field::F64(_) | Field::Bytes(_) => Value::Null,
    }
}

fn write_enum(kind: &Kind, number: i32) -> Value {
    let Kind::Enum(descriptor) = kind else { return Value::from(number) };
    let name = short_names(descriptor).find(|(_, other)| *other == number).map(|(name, _)| name);
    name.map_or_else(|| Value::from(number), Value::String)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn errors(document: &Value) -> Vec<(String, String)> {
        read(document).unwrap_err().into_iter().map(|error| (error.field.clone(), error.to_string())).collect()
    }

    #[test]
    fn a_group_is_read_as_people_write_it() {
        let document = json!({
            "kind": "SecurityGroup",
            "name": "tenants/t/networks/n/securityGroups/web",
            "rules": [
                {"name": "http", "direction": "ingress", "action": "allow", "protocol": "tcp", "ports": [80, "443"],
                 "remoteGroup": "tenants/t/networks/n/securityGroups/staff"},
                {"name": "echo", "direction": "DIRECTION_EGRESS", "action": "deny", "protocol": "icmp", "icmp_type": 0},
            ],
        });
        let resource = read(&document).unwrap();
        let Some(v1::resource::Kind::SecurityGroup(group)) = &resource.kind else { panic!("{resource:?}") };
        let http = &group.rules[0];
        assert_eq!(http.direction, v1::Direction::Ingress as i32);
        assert_eq!(http.ports, ["80", "443"]);
        assert!(matches!(&http.remote, Some(v1::rule::Remote::RemoteGroup(name)) if name.ends_with("/staff")));
        assert_eq!(group.rules[1].direction, v1::Direction::Egress as i32);
        assert_eq!(group.rules[1].icmp_type, Some(0), "zero is not absent");
        assert_eq!(group.rules[1].icmp_code, None);
        assert_eq!(read(&write(&resource).unwrap()).unwrap(), resource, "what is written can be read again");
    }

    #[test]
    fn every_error_of_a_document_is_told_with_its_field() {
        let found = errors(&json!({
            "kind": "SecurityGroup",
            "name": {"a": 1},
            "rules": [
                {"name": "a", "direction": "inward", "priority": "soon"},
                {"remoteCidr": "10.0.0.0/8", "remote_group": "g"},
                {"ports": "80"},
                "http",
                {"prio": 7},
            ],
        }));
        let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        for field in ["name", "rules[0].direction", "rules[0].priority", "rules[2].ports", "rules[3]", "rules[4].prio"]
        {
            assert!(fields.contains(&field), "{field} is missing in {found:#?}");
        }
        assert!(fields.iter().any(|field| field.starts_with("rules[1].remote")), "{found:#?}");
        let direction = &found.iter().find(|(field, _)| field.ends_with("direction")).unwrap().1;
        assert!(direction.contains("\"inward\"") && direction.contains("ingress, egress"), "{direction}");
    }

    #[test]
    fn a_wrong_kind_is_refused_with_those_there_are() {
        for document in [json!({"kind": "Router"}), json!({"name": "x"}), json!(7), json!({"kind": 7})] {
            let found = errors(&document);
            assert_eq!(found.len(), 1, "{found:?}");
        }
        assert!(errors(&json!({"kind": "port"}))[0].1.contains("Port"));
        assert_eq!(
            kinds().unwrap(),
            [
                "Tenant",
                "Network",
                "Subnet",
                "Port",
                "SecurityGroup",
                "Host",
                "Vtep",
                "PrefixList",
                "OperatorPolicy",
                "Zone"
            ]
        );
    }
}
