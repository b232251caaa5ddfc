//! What is wrong with a write.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What makes a write impossible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// A value that breaks a rule.
    #[default]
    Value,
    /// What would be deleted is still in use.
    InUse,
    /// There would be more than a tenant may have.
    Quota,
}

/// One rule that a write breaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Violation {
    /// Path of the field, for example `resources[3].port.addresses[0]`.
    pub field: String,
    /// The value that was given.
    pub value: String,
    /// The rule that it breaks.
    pub rule: String,
    /// What to do.
    pub fix: String,
    /// What kind of rule it is.
    pub cause: Cause,
}

impl Violation {
    /// A violation of `rule` by the `value` of `field`. Long values are cut to 200 characters: they are echoed to people.
    pub fn new(
        field: impl Into<String>,
        value: impl fmt::Display,
        rule: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let mut value = value.to_string();
        if let Some((end, _)) = value.char_indices().nth(200) {
            value.truncate(end);
            value.push('…');
        }
        Self { field: field.into(), value, rule: rule.into(), fix: fix.into(), cause: Cause::Value }
    }

    /// The same, of another cause.
    #[must_use]
    pub fn of(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}: {}; {}", self.field, self.value, self.rule, self.fix)
    }
}

impl std::error::Error for Violation {}
