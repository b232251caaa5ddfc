//! What is different between two states of a resource, field by field.

use serde_json::{Map, Value};

use crate::{
    json::{JsonError, to_json},
    v1::{FieldChange, Resource},
};

/// Given by the server and chosen by nobody: a change of them says nothing.
const GIVEN: [&str; 7] = ["revision", "etag", "index", "tenantIndex", "identity", "number", "uid"];

/// The fields in which two states of one resource differ, by path. Elements of lists that have names are matched by them.
pub fn fields(before: &Resource, after: &Resource) -> Result<Vec<FieldChange>, JsonError> {
    let (before, after) = (content(before)?, content(after)?);
    let mut changes = Vec::new();
    compare("", &Value::Object(before), &Value::Object(after), &mut changes);
    Ok(changes)
}

/// The fields of a resource.
fn content(resource: &Resource) -> Result<Map<String, Value>, JsonError> {
    let Value::Object(outer) = to_json(resource)? else { return Ok(Map::new()) };
    Ok(match outer.into_iter().find(|(_, value)| value.is_object()) {
        Some((_, Value::Object(inner))) => inner,
        _ => Map::new(),
    })
}

fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let join = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
            let chosen = |(field, _): &(&String, &Value)| !GIVEN.contains(&field.as_str());
            for (field, value) in old.iter().filter(chosen) {
                compare(&join(field), value, new.get(field).unwrap_or(&Value::Null), changes);
            }
            for (field, value) in new.iter().filter(chosen).filter(|(field, _)| !old.contains_key(*field)) {
                compare(&join(field), &Value::Null, value, changes);
            }
        }
        (Value::Array(old), Value::Array(new)) if named(old) && named(new) => {
            let find = |list: &[Value], name: &str| list.iter().find(|it| name_of(it) == name).cloned();
            for item in old {
                let name = name_of(item);
                let other = find(new, name).unwrap_or(Value::Null);
                compare(&format!("{path}[{name}]"), item, &other, changes);
            }
            for item in new.iter().filter(|item| find(old, name_of(item)).is_none()) {
                compare(&format!("{path}[{}]", name_of(item)), &Value::Null, item, changes);
            }
        }
        _ => changes.push(FieldChange { path: path.to_owned(), before: shown(before), after: shown(after) }),
    }
}

/// Has every element a name of its own?
fn named(list: &[Value]) -> bool {
    let mut names: Vec<&str> = list.iter().map(name_of).collect();
    names.sort_unstable();
    names.dedup();
    names.len() == list.len() && names.first().is_none_or(|name| !name.is_empty())
}

fn name_of(value: &Value) -> &str {
    value.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn shown(value: &Value) -> String {
    if value.is_null() { String::new() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::v1::{Port, Rule, SecurityGroup};

    #[test]
    fn differences_are_told_by_field() {
        let before = Port { name: "p".to_owned(), host: "hosts/h1".to_owned(), revision: 3, ..Port::default() };
        let mut after = Port { host: "hosts/h2".to_owned(), revision: 4, ..before.clone() };
        after.labels.insert("env".to_owned(), "prod".to_owned());
        let found = fields(&before.into(), &after.into()).unwrap();
        let told: Vec<_> = found.iter().map(|it| (it.path.as_str(), it.before.as_str(), it.after.as_str())).collect();
        assert_eq!(told, [("host", "\"hosts/h1\"", "\"hosts/h2\""), ("labels.env", "", "\"prod\"")]);
    }

    #[test]
    fn rules_are_matched_by_name() {
        let rule = |name: &str, priority| Rule { name: name.to_owned(), priority, ..Rule::default() };
        let group = |rules: Vec<Rule>| Resource::from(SecurityGroup { rules, ..SecurityGroup::default() });
        let before = group(vec![rule("a", 1), rule("b", 2)]);
        let after = group(vec![rule("c", 3), rule("b", 7)]);
        let paths: Vec<_> = fields(&before, &after).unwrap().into_iter().map(|it| it.path).collect();
        assert_eq!(paths, ["rules[a]", "rules[b].priority", "rules[c]"]);
        assert!(fields(&before, &before).unwrap().is_empty());
    }
}
