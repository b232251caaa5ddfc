//! Zones: places where hosts stand, and the law that holds there.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    Labels, ValueError, ZoneName,
    value::{as_text, lower_case_id},
};

/// A law by which a zone lies: a country of ISO 3166-1 in two capital letters, for example FR. Codes are compared as they stand: none
/// is inside another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Jurisdiction(String);

impl FromStr for Jurisdiction {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
            return Ok(Self(text.to_owned()));
        }
        let rule = "a jurisdiction is a country of ISO 3166-1 in two capital letters";
        Err(ValueError::new(text, rule, "write it as FR or DE"))
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who runs the hosts of a zone: 1 to 63 characters of a-z, 0-9 and "-", beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ZoneOperator(String);

impl FromStr for ZoneOperator {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if lower_case_id(text) {
            return Ok(Self(text.to_owned()));
        }
        let rule = "an operator is 1 to 63 characters of a-z, 0-9 and \"-\", and begins with a letter";
        Err(ValueError::new(text, rule, "write it as example-cloud"))
    }
}

impl fmt::Display for ZoneOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

as_text! { Jurisdiction ZoneOperator }

/// A place where hosts stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Its name.
    pub name: ZoneName,
    /// The law by which it lies.
    pub jurisdiction: Jurisdiction,
    /// Who runs the hosts there.
    pub operator: ZoneOperator,
    /// Its number in every table, 1 to [`crate::limits::ZONES`]; given by the model, 0 before that. It stays as long as the zone is there,
    /// and may then be given to another.
    pub index: u32,
    /// Revision of its last write; set by the model.
    pub revision: u64,
    /// Its labels.
    pub labels: Labels,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_law_and_an_operator_are_what_they_look_like() {
        for (text, right) in [("FR", true), ("fr", false), ("", false), ("FRA", false), ("É", false), ("F1", false)] {
            assert_eq!(text.parse::<Jurisdiction>().is_ok(), right, "{text:?}");
        }
        for (text, right) in [("cloud-9", true), ("", false), ("9", false), ("Cloud", false), ("a b", false)] {
            assert_eq!(text.parse::<ZoneOperator>().is_ok(), right, "{text:?}");
        }
        assert!(format!("a{}", "b".repeat(63)).parse::<ZoneOperator>().is_err());
    }
}
