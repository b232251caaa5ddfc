//! Field masks (google.aip.dev/161): which fields of a resource an update writes.

use andromede_model::Violation;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};
use prost_types::FieldMask;

use crate::{
    json::{JsonError, descriptor, to_dynamic},
    v1::Resource,
};

/// Most paths of a mask.
const PATHS: usize = 100;

/// `current` with the fields of `wanted` that the mask names. Without a mask these are the fields that are not empty; "*"
/// stands for all, and "labels.KEY" for one label. Both are of one kind.
pub fn update(current: &Resource, wanted: &Resource, mask: Option<&FieldMask>) -> Result<Resource, Vec<Violation>> {
    let fault = |error: &JsonError| vec![Violation::new("resource", "", error.to_string(), "report it")];
    let (field, mut merged) = inner(current).map_err(|error| fault(&error))?;
    let (other, wanted) = inner(wanted).map_err(|error| fault(&error))?;
    if field != other {
        return Err(vec![Violation::new("resource", other.name(), "a resource keeps its kind", "write the same kind")]);
    }
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    match paths {
        [] => wanted.fields().for_each(|(field, value)| merged.set_field(&field, value.clone())),
        [all] if all == "*" => merged = wanted,
        paths if paths.len() > PATHS => {
            let rule = format!("a mask has at most {PATHS} paths");
            return Err(vec![Violation::new("update_mask", paths.len(), rule, "write \"*\" for all fields")]);
        }
        paths => {
            let mut violations = Vec::new();
            for path in paths {
                if let Err(violation) = take(&mut merged, &wanted, path) {
                    violations.push(violation);
                }
            }
            if !violations.is_empty() {
                return Err(violations);
            }
        }
    }
    let mut outer = DynamicMessage::new(field.parent_message().clone());
    outer.set_field(&field, Value::Message(merged));
    outer.transcode_to().map_err(|error| fault(&JsonError::Decode(error)))
}

/// The field of the kind that is set, and its message.
pub(crate) fn inner(resource: &Resource) -> Result<(FieldDescriptor, DynamicMessage), JsonError> {
    let outer = to_dynamic(resource)?;
    let set = outer.fields().find_map(|(field, value)| Some((field, value.as_message()?.clone())));
    set.ok_or_else(|| JsonError::Schema("andromede.v1.Resource with a kind".to_owned()))
}

/// Takes over what one path names.
fn take(merged: &mut DynamicMessage, wanted: &DynamicMessage, path: &str) -> Result<(), Violation> {
    let (name, key) = path.split_once('.').map_or((path, None), |(name, key)| (name, Some(key)));
    let field = merged.descriptor().get_field_by_name(name).ok_or_else(|| unknown(&merged.descriptor(), path))?;
    match key {
        None if wanted.has_field(&field) => merged.set_field(&field, wanted.get_field(&field).into_owned()),
        None => merged.clear_field(&field),
        Some(key) if field.is_map() => {
            let key = MapKey::String(key.to_owned());
            let found = wanted.get_field(&field).as_map().and_then(|map| map.get(&key)).cloned();
            if let Some(map) = merged.get_field_mut(&field).as_map_mut() {
                match found {
                    Some(value) => drop(map.insert(key, value)),
                    None => drop(map.remove(&key)),
                }
            }
        }
        Some(_) => return Err(unknown(&merged.descriptor(), path)),
    }
    Ok(())
}

fn unknown(message: &MessageDescriptor, path: &str) -> Violation {
    let names: Vec<String> = message
        .fields()
        .map(|field| if field.is_map() { format!("{0}, {0}.KEY", field.name()) } else { field.name().to_owned() })
        .collect();
    let rule = format!("a {} has no such field", message.name());
    Violation::new("update_mask", path, rule, format!("write \"*\" or some of: {}", names.join(", ")))
}

/// The message of one kind of resource.
pub(crate) fn message_of(kind: &str) -> Result<MessageDescriptor, JsonError> {
    let resource = descriptor("andromede.v1.Resource")?;
    let field = resource.fields().find_map(|field| match field.kind() {
        Kind::Message(message) if message.name() == kind => Some(message),
        _ => None,
    });
    field.ok_or_else(|| JsonError::Schema(kind.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::v1::Port;

    fn port(host: &str, mac: &str, labels: &[(&str, &str)]) -> Resource {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let name = "tenants/t/networks/n/ports/p".to_owned();
        Port { name, host: host.to_owned(), mac: mac.to_owned(), labels, ..Port::default() }.into()
    }

    fn updated(wanted: &Resource, paths: &[&str]) -> Result<Resource, Vec<Violation>> {
        let mask = FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() };
        update(&port("hosts/h1", "m", &[("a", "1"), ("b", "2")]), wanted, Some(&mask))
    }

    #[test]
    fn a_mask_writes_what_it_names_and_nothing_else() {
        let wanted = port("hosts/h2", "", &[("a", "9")]);
        let both = &[("a", "1"), ("b", "2")][..];
        assert_eq!(updated(&wanted, &["host"]).unwrap(), port("hosts/h2", "m", both));
        assert_eq!(updated(&wanted, &["mac"]).unwrap(), port("hosts/h1", "", both), "what is empty is cleared");
        assert_eq!(updated(&wanted, &["labels"]).unwrap(), port("hosts/h1", "m", &[("a", "9")]));
        assert_eq!(updated(&wanted, &["labels.a"]).unwrap(), port("hosts/h1", "m", &[("a", "9"), ("b", "2")]));
        assert_eq!(updated(&wanted, &["labels.b"]).unwrap(), port("hosts/h1", "m", &[("a", "1")]));
        assert_eq!(updated(&wanted, &["*"]).unwrap(), wanted);
        assert_eq!(
            updated(&wanted, &[]).unwrap(),
            port("hosts/h2", "m", &[("a", "9")]),
            "what is not empty is written"
        );
    }

    #[test]
    fn paths_that_name_no_field_are_refused() {
        for path in ["", "adresses", "host.x", ".", "*.host", "labels.a.b.", "rules[0]"] {
            let refused = updated(&port("", "", &[]), &[path]);
            // Any text may be the key of a label: whether it is a good one is asked when it is written.
            assert_eq!(refused.is_err(), !path.starts_with("labels."), "{path}");
        }
        assert!(updated(&port("", "", &[]), &["*", "host"]).is_err());
        assert!(updated(&port("", "", &[]), &["host"; 101]).is_err());
        assert!(update(&port("", "", &[]), &crate::v1::Host::default().into(), None).is_err());
    }
}
