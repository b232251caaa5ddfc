//! Label selectors (Kubernetes API, `meta/v1`, `LabelSelector`).

use std::collections::{BTreeMap, BTreeSet};

use andromede_model::Violation;
use serde::Deserialize;

use crate::objects::Labels;

/// One condition on labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// The label is there and has one of these values.
    In(String, BTreeSet<String>),
    /// The label is not there, or has none of these values.
    NotIn(String, BTreeSet<String>),
    /// The label is there.
    Exists(String),
    /// The label is not there.
    DoesNotExist(String),
}

impl Requirement {
    fn matches(&self, labels: &Labels) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

/// A selector: all conditions hold. Two that say the same in another order are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector(BTreeSet<Requirement>);

impl Selector {
    /// The one without a condition, which selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Its conditions, in order.
    pub(crate) fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        self.0.iter()
    }

    /// Does it select what has these labels?
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }
}

/// A selector as the API has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LabelSelector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<Expression>>,
}

/// A condition as the API has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

impl LabelSelector {
    /// Checks it; `field` is put before the names of its fields.
    pub(crate) fn read(self, field: &str) -> Result<Selector, Violation> {
        let equal = self.match_labels.unwrap_or_default().into_iter();
        let mut requirements: BTreeSet<Requirement> =
            equal.map(|(key, value)| Requirement::In(key, [value].into())).collect();
        for (place, expression) in self.match_expressions.unwrap_or_default().into_iter().enumerate() {
            requirements.insert(expression.read(&format!("{field}.matchExpressions[{place}]"))?);
        }
        Ok(Selector(requirements))
    }
}

impl Expression {
    fn read(self, field: &str) -> Result<Requirement, Violation> {
        let Self { key, operator, values } = self;
        let values: BTreeSet<String> = values.unwrap_or_default().into_iter().collect();
        let wrong = |rule: &str, fix: &str| Err(Violation::new(format!("{field}.values"), values.len(), rule, fix));
        match (operator.as_str(), values.is_empty()) {
            ("In", false) => Ok(Requirement::In(key, values)),
            ("NotIn", false) => Ok(Requirement::NotIn(key, values)),
            ("Exists", true) => Ok(Requirement::Exists(key)),
            ("DoesNotExist", true) => Ok(Requirement::DoesNotExist(key)),
            ("In" | "NotIn", true) => wrong("In and NotIn compare with at least one value", "give the values"),
            ("Exists" | "DoesNotExist", false) => {
                wrong("Exists and DoesNotExist compare with no value", "remove the values")
            }
            _ => {
                let rule = "an operator is In, NotIn, Exists or DoesNotExist";
                Err(Violation::new(format!("{field}.operator"), operator, rule, "write one of them"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    fn selector(value: Value) -> Result<Selector, String> {
        let wire: LabelSelector = serde_json::from_value(value).map_err(|error| error.to_string())?;
        wire.read("podSelector").map_err(|violation| violation.to_string())
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_operator_says_what_kubernetes_says() {
        let (web, db, none) = (labels(&[("app", "web")]), labels(&[("app", "db")]), labels(&[]));
        let expression = |operator: &str, values: &[&str]| {
            selector(json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]})).unwrap()
        };
        for (selector, expected) in [
            (selector(json!({})).unwrap(), [true, true, true]),
            (selector(json!({"matchLabels": {"app": "web"}})).unwrap(), [true, false, false]),
            (selector(json!({"matchLabels": null, "matchExpressions": null})).unwrap(), [true, true, true]),
            (expression("In", &["web", "x"]), [true, false, false]),
            // A label that is not there is in no list.
            (expression("NotIn", &["web", "x"]), [false, true, true]),
            (expression("Exists", &[]), [true, true, false]),
            (expression("DoesNotExist", &[]), [false, false, true]),
        ] {
            assert_eq!([&web, &db, &none].map(|labels| selector.matches(labels)), expected, "{selector:?}");
        }
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        let one = json!({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "In", "values": ["2", "3"]}]});
        let other = json!({"matchExpressions": [
            {"key": "b", "operator": "In", "values": ["3", "2"]}, {"key": "a", "operator": "In", "values": ["1"]},
        ]});
        assert_eq!(selector(one).unwrap(), selector(other).unwrap());
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (value, says) in [
            (json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}), "operator"),
            (json!({"matchExpressions": [{"key": "a", "operator": "In"}]}), "at least one value"),
            (json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["1"]}]}), "no value"),
            (json!({"matchFields": {}}), "matchFields"),
        ] {
            assert!(selector(value.clone()).unwrap_err().contains(says), "{value}");
        }
    }
}
