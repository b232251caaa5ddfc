//! Messages as JSON, by the schema.
//!
//! What is written is canonical proto JSON. What is read may be that, or as people write it: field names in camelCase or
//! `snake_case`, enum values without their prefix and in lower case, whole numbers where a text is wanted. Anything else is
//! refused by its path.

use andromede_model::Violation;
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::schema;

/// A message that could not be written as JSON: it was not made from the schema of this program.
#[derive(Debug, Error)]
#[error("the message {message} does not follow the schema of this program: {reason}")]
pub struct JsonError {
    /// Full name of the message.
    pub message: String,
    /// What went wrong.
    pub reason: String,
}

/// A message as canonical proto JSON: camelCase, full names of enum values, 64-bit numbers as text, no default values.
pub fn to_json<M: Message + Name>(message: &M) -> Result<Value, JsonError> {
    write(message, &SerializeOptions::new())
}

/// The same as people write it: enum values without their prefix and in lower case, all numbers as numbers.
pub fn to_plain_json<M: Message + Name>(message: &M) -> Result<Value, JsonError> {
    let mut value = write(message, &SerializeOptions::new().stringify_64_bit_integers(false))?;
    if let Some(descriptor) = schema::message::<M>() {
        shorten(&mut value, &descriptor);
    }
    Ok(value)
}

fn write<M: Message + Name>(message: &M, options: &SerializeOptions) -> Result<Value, JsonError> {
    let error = |reason: String| JsonError { message: M::full_name(), reason };
    let descriptor = schema::message::<M>().ok_or_else(|| error("it is not part of it".into()))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|reason| error(reason.to_string()))?;
    dynamic.serialize_with_options(serde_json::value::Serializer, options).map_err(|reason| error(reason.to_string()))
}

/// Writes enum values as people do.
fn shorten(value: &mut Value, descriptor: &MessageDescriptor) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        let Some(field) = descriptor.get_field_by_json_name(name) else { continue };
        let kind = if field.is_map() { map_value(&field) } else { field.kind() };
        let items: Box<dyn Iterator<Item = &mut Value>> = match value {
            Value::Array(items) => Box::new(items.iter_mut()),
            Value::Object(entries) if field.is_map() => Box::new(entries.values_mut()),
            one => Box::new(std::iter::once(one)),
        };
        for item in items {
            match &kind {
                Kind::Message(message) => shorten(item, message),
                Kind::Enum(of) => {
                    if let Some(known) = item.as_str().and_then(|name| of.get_value_by_name(name)) {
                        *item = Value::String(schema::short_name(of, &known));
                    }
                }
                _ => {}
            }
        }
    }
}

/// The kind of a map's values.
fn map_value(field: &FieldDescriptor) -> Kind {
    match field.kind() {
        Kind::Message(entry) => entry.map_entry_value_field().kind(),
        other => other,
    }
}

/// A message from JSON, or everything that is wrong with it. `path` is put before the names of fields.
pub fn from_json<M: Message + Name + Default>(value: Value, path: &str) -> Result<M, Vec<Violation>> {
    let internal = |reason: String| {
        vec![Violation::new(path, M::full_name(), reason, "compare the versions of client and server")]
    };
    let descriptor = schema::message::<M>().ok_or_else(|| internal("the message is not part of the schema".into()))?;
    let mut reader = Reader { violations: Vec::new() };
    let value = reader.message(value, &descriptor, path);
    if !reader.violations.is_empty() {
        return Err(reader.violations);
    }
    let dynamic = DynamicMessage::deserialize(descriptor, value).map_err(|reason| internal(reason.to_string()))?;
    M::decode(dynamic.encode_to_vec().as_slice()).map_err(|reason| internal(reason.to_string()))
}

/// Brings JSON as people write it into the canonical form, and collects what is wrong with it.
struct Reader {
    violations: Vec<Violation>,
}

/// A value for an error message: short, and not a whole tree.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a group of fields".into(),
        other => other.to_string(),
    }
}

impl Reader {
    fn refuse(&mut self, path: &str, value: &Value, rule: impl Into<String>, fix: impl Into<String>) -> Value {
        self.violations.push(Violation::new(path, shown(value), rule, fix));
        Value::Null
    }

    fn message(&mut self, value: Value, descriptor: &MessageDescriptor, path: &str) -> Value {
        let Value::Object(fields) = value else {
            let rule = format!("a {} is a group of fields", descriptor.name());
            return self.refuse(path, &value, rule, "write its fields, each with its name");
        };
        let mut read = Map::new();
        for (name, value) in fields {
            let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let by_name = descriptor.get_field_by_json_name(&name).or_else(|| descriptor.get_field_by_name(&name));
            let Some(field) = by_name else {
                let known: Vec<String> = descriptor.fields().map(|field| field.json_name().to_owned()).collect();
                let rule = format!("a {} has no such field", descriptor.name());
                self.refuse(&at, &Value::String(name), rule, format!("its fields are {}", known.join(", ")));
                continue;
            };
            if value.is_null() {
                continue;
            }
            let value = self.field(value, &field, &at);
            self.only_one(&field, &read, &at);
            if read.insert(field.json_name().to_owned(), value).is_some() {
                let rule = "a field is given once; this one also has its other spelling";
                self.refuse(&at, &Value::String(name), rule, "remove one of the two");
            }
        }
        Value::Object(read)
    }

    /// Refuses a field that excludes another that was read before.
    fn only_one(&mut self, field: &FieldDescriptor, read: &Map<String, Value>, path: &str) {
        let Some(oneof) = field.containing_oneof().filter(|oneof| oneof.fields().len() > 1) else { return };
        let other = oneof.fields().find(|other| other != field && read.contains_key(other.json_name()));
        if let Some(other) = other {
            let rule = format!("only one of {} and {} is given", other.json_name(), field.json_name());
            self.refuse(path, &Value::String(field.json_name().to_owned()), rule, "remove one of the two");
        }
    }

    fn field(&mut self, value: Value, field: &FieldDescriptor, path: &str) -> Value {
        if field.is_map() {
            let kind = map_value(field);
            let Value::Object(entries) = value else {
                return self.refuse(path, &value, "the field has a value for each key", "write key: value pairs");
            };
            let entry = |(key, value)| {
                let value = self.one(value, &kind, &format!("{path}.{key}"));
                (key, value)
            };
            return Value::Object(entries.into_iter().map(entry).collect());
        }
        if field.is_list() {
            let Value::Array(items) = value else {
                return self.refuse(
                    path,
                    &value,
                    "the field is a list",
                    "write [a, b], or one item a line behind \"- \"",
                );
            };
            let item = |(place, value)| self.one(value, &field.kind(), &format!("{path}[{place}]"));
            return Value::Array(items.into_iter().enumerate().map(item).collect());
        }
        self.one(value, &field.kind(), path)
    }

    fn one(&mut self, value: Value, kind: &Kind, path: &str) -> Value {
        match kind {
            Kind::Message(message) => self.message(value, message, path),
            Kind::Enum(of) => self.enumeration(&value, of, path),
            Kind::String => match value {
                Value::String(_) => value,
                // YAML reads 80 as a number, where people mean the text.
                Value::Number(ref number) if number.is_u64() => Value::String(number.to_string()),
                _ => self.refuse(path, &value, "the field is a text", "put it in quotes"),
            },
            Kind::Bool => match value {
                Value::Bool(_) => value,
                _ => self.refuse(path, &value, "the field is true or false", "write one of them"),
            },
            Kind::Uint32 | Kind::Fixed32 => self.number(value, 0, i128::from(u32::MAX), path),
            Kind::Uint64 | Kind::Fixed64 => self.number(value, 0, i128::from(u64::MAX), path),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                self.number(value, i128::from(i32::MIN), i128::from(i32::MAX), path)
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                self.number(value, i128::from(i64::MIN), i128::from(i64::MAX), path)
            }
            Kind::Double | Kind::Float | Kind::Bytes => value,
        }
    }

    fn number(&mut self, value: Value, least: i128, most: i128, path: &str) -> Value {
        let number: Option<i128> = match &value {
            Value::Number(number) => number.to_string().parse().ok(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        if number.is_some_and(|number| (least..=most).contains(&number)) {
            return value;
        }
        self.refuse(path, &value, format!("the field is a whole number from {least} to {most}"), "give such a number")
    }

    fn enumeration(&mut self, value: &Value, of: &EnumDescriptor, path: &str) -> Value {
        let known = match value {
            Value::String(name) => schema::value_by_name(of, name),
            Value::Number(number) => {
                number.as_i64().and_then(|number| i32::try_from(number).ok()).and_then(|number| of.get_value(number))
            }
            _ => None,
        };
        if let Some(known) = known {
            return Value::String(known.name().to_owned());
        }
        let names = of.values().filter(|value| value.number() != 0).map(|value| schema::short_name(of, &value));
        let names = names.collect::<Vec<_>>().join(", ");
        self.refuse(path, value, format!("a {} is one of {names}", of.name().to_lowercase()), "write one of them")
    }
}
