//! What all kinds of resources have in common.

use crate::v1::{self, Resource, resource::Kind};

macro_rules! kinds {
    ($($kind:ident)*) => {
        impl Resource {
            /// Its name; empty if it has none.
            pub fn name(&self) -> &str {
                match &self.kind {
                    $(Some(Kind::$kind(resource)) => &resource.name,)*
                    None => "",
                }
            }

            /// Gives it a name.
            pub fn set_name(&mut self, name: String) {
                match &mut self.kind {
                    $(Some(Kind::$kind(resource)) => resource.name = name,)*
                    None => {}
                }
            }

            /// Its etag; empty if it has none.
            pub fn etag(&self) -> &str {
                match &self.kind {
                    $(Some(Kind::$kind(resource)) => &resource.etag,)*
                    None => "",
                }
            }

            /// The same with the etag of its revision in a store of this epoch, as callers are shown it.
            #[must_use]
            pub fn with_etag(mut self, epoch: u64) -> Self {
                match &mut self.kind {
                    $(Some(Kind::$kind(resource)) => resource.etag = etag(epoch, resource.revision),)*
                    None => {}
                }
                self
            }
        }

        $(
            impl From<v1::$kind> for Resource {
                fn from(resource: v1::$kind) -> Self {
                    Self { kind: Some(Kind::$kind(resource)) }
                }
            }

            impl TryFrom<Resource> for v1::$kind {
                /// It is of another kind.
                type Error = Resource;

                fn try_from(resource: Resource) -> Result<Self, Resource> {
                    match resource.kind {
                        Some(Kind::$kind(resource)) => Ok(resource),
                        kind => Err(Resource { kind }),
                    }
                }
            }
        )*
    };
}

kinds! { Tenant Network Subnet Port SecurityGroup Host Vtep PrefixList OperatorPolicy Zone }

/// The etag of a resource that was last written at this revision, in a store of this epoch. A store that was put back from a backup begins
/// another epoch, and counts the same revisions again: what it gave before means nothing then.
pub fn etag(epoch: u64, revision: u64) -> String {
    format!("{epoch}-{revision}")
}

/// The epoch and the revision that an etag stands for; none: the server gave no such etag.
pub fn revision_of(etag: &str) -> Option<(u64, u64)> {
    let number = |digits: &str| {
        let plain = digits == "0" || !digits.starts_with(['0', '+']);
        digits.parse().ok().filter(|_| plain)
    };
    let (epoch, revision) = etag.split_once('-')?;
    Some((number(epoch)?, number(revision)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_stands_for_one_revision_of_one_epoch() {
        for (epoch, revision) in [(0, 0), (1, 1), (2, 42), (u64::MAX, u64::MAX)] {
            assert_eq!(revision_of(&etag(epoch, revision)), Some((epoch, revision)));
        }
        for wrong in ["", "-", "7", "r7", "1-", "-7", "1-+7", "1-07", "01-7", "1--1", "1-2-3", "1-18446744073709551616"]
        {
            assert_eq!(revision_of(wrong), None, "{wrong}");
        }
    }
}
