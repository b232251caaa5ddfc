//! Labels: what those who manage a resource write on it for themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ValueError, limits};

/// Labels of a resource, by key. Nothing in the network depends on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Labels, if all keys and values are in order; otherwise the first key that is not, and why.
    pub fn new(labels: BTreeMap<String, String>) -> Result<Self, (String, ValueError)> {
        if labels.len() > limits::LABELS {
            let rule = format!("a resource has at most {} labels", limits::LABELS);
            return Err((String::new(), ValueError::new(labels.len(), rule, "remove some")));
        }
        for (key, value) in &labels {
            check_key(key).and_then(|()| check_value(value)).map_err(|error| (key.clone(), error))?;
        }
        Ok(Self(labels))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn check_key(key: &str) -> Result<(), ValueError> {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/');
    let fits = key.len() <= limits::LABEL_CHARACTERS
        && key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.bytes().all(allowed);
    if fits {
        return Ok(());
    }
    let rule = format!(
        "the key of a label is 1 to {} characters of a-z, 0-9, \"-\", \"_\", \".\" and \"/\", and begins with a letter",
        limits::LABEL_CHARACTERS
    );
    Err(ValueError::new(key, rule, "write it as env or example.org/team"))
}

fn check_value(value: &str) -> Result<(), ValueError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if value.len() <= limits::LABEL_CHARACTERS && value.bytes().all(allowed) {
        return Ok(());
    }
    let rule =
        format!("the value of a label is 0 to {} letters, digits, \"-\", \"_\" and \".\"", limits::LABEL_CHARACTERS);
    Err(ValueError::new(value, rule, "shorten it, or write - for what is not allowed"))
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = ValueError;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, ValueError> {
        Self::new(labels).map_err(|(_, error)| error)
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}
