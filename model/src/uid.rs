//! What tells a resource from an earlier one of the same name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::value::{ValueError, as_text};

/// When a resource was created. One that is deleted and created anew under the same name has another; revisions alone would not do,
/// since they are counted anew after a backup was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid {
    /// Epoch of the store.
    pub epoch: u64,
    /// Revision that created it; 0 in [`Uid::UNSET`].
    pub revision: u64,
}

impl Uid {
    /// Not known: the resource is not created yet, or was before there were identifiers.
    pub const UNSET: Self = Self { epoch: 0, revision: 0 };

    /// Is it not known?
    pub fn is_unset(self) -> bool {
        self == Self::UNSET
    }

    /// Are these certainly two resources? What is not known is not held against anybody.
    pub fn differs(self, other: Self) -> bool {
        self != other && !self.is_unset() && !other.is_unset()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unset() { Ok(()) } else { write!(f, "{}-{}", self.epoch, self.revision) }
    }
}

impl FromStr for Uid {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.is_empty() {
            return Ok(Self::UNSET);
        }
        let parts = text
            .split_once('-')
            .and_then(|(epoch, revision)| Some(Self { epoch: epoch.parse().ok()?, revision: revision.parse().ok()? }));
        // Only as it is written: no sign, no leading zero.
        parts.filter(|uid| uid.to_string() == text).ok_or_else(|| {
            let rule = "a uid is the store's epoch and the revision of the creation, such as 1-57";
            ValueError::new(text, rule, "leave it out: the server sets it")
        })
    }
}

as_text!(Uid);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        for uid in [Uid::UNSET, Uid { epoch: 1, revision: 57 }, Uid { epoch: u64::MAX, revision: u64::MAX }] {
            assert_eq!(uid.to_string().parse::<Uid>().unwrap(), uid);
        }
        for text in ["-", "1", "1-", "-1", "+1-2", "01-2", "0-0", "1-2-3", "1-x", " 1-2"] {
            assert!(text.parse::<Uid>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_differs_from_nothing() {
        let (one, two) = (Uid { epoch: 1, revision: 5 }, Uid { epoch: 2, revision: 5 });
        assert!(one.differs(two) && !one.differs(one));
        assert!(!one.differs(Uid::UNSET) && !Uid::UNSET.differs(one));
    }
}
