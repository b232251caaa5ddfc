//! What writes of one resource have in common: names, etags, ids of requests.

use andromede_model::{AnyName, Resource, ResourceKind, Violation};
use andromede_proto::{resource::revision_of, v1};
use sha2::{Digest as _, Sha256};
use tonic::Status;

use super::{broken, pages::parent_form};
use crate::{
    change::{Condition, WriteError},
    errors,
    requests::Request,
};

/// Most characters of a request's id.
const REQUEST_ID: usize = 64;

/// The request that an id stands for; none without an id.
pub(super) fn identified(id: &str, method: &str, arguments: &[u8]) -> Result<Option<Request>, Status> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if id.len() > REQUEST_ID || !id.bytes().all(allowed) {
        let rule = format!("the id of a request is at most {REQUEST_ID} letters, digits, \"-\", \"_\" and \".\"");
        return Err(broken("request_id", id, &rule, "use a UUID"));
    }
    Ok(Request::new(id, method, arguments))
}

/// The condition that a resource's etag stands for, in a store of this epoch; none without one.
pub(super) fn condition(name: &AnyName, etag: &str, epoch: u64) -> Result<Option<(AnyName, Condition)>, WriteError> {
    if etag.is_empty() {
        return Ok(None);
    }
    // An etag that the server never gave, or before a backup was put back, is that of no state of the resource.
    let changed = || WriteError::Changed { name: name.clone(), etag: String::new() };
    let (_, revision) = revision_of(etag).filter(|(given, _)| *given == epoch).ok_or_else(changed)?;
    Ok(Some((name.clone(), Condition::At(revision))))
}

/// The name of a resource to be created: by its parent and id, or its own. Without any, one that the server chooses.
pub(super) fn name_for(kind: ResourceKind, parent: &str, id: &str, own: &str, seed: &[u8]) -> Result<String, Status> {
    let form = parent_form(kind);
    if id.is_empty() && !own.is_empty() {
        let inside = own.rsplitn(3, '/').nth(2).unwrap_or_default();
        if !parent.is_empty() && inside != parent {
            let rule = format!("the resource's own name is {own:?}");
            return Err(broken("parent", parent, &rule, "leave one of the two out"));
        }
        return Ok(own.to_owned());
    }
    if !form.is_empty() && (parent.is_empty() || parent.contains("/-")) {
        let rule = format!("the parent of a {kind} has the form {:?}", form.join("/"));
        return Err(broken("parent", parent, &rule, "name the parent, or give the resource its whole name"));
    }
    let id = if id.is_empty() { chosen(seed) } else { id.to_owned() };
    let whole = if form.is_empty() {
        format!("{}/{id}", kind.collection())
    } else {
        format!("{parent}/{}/{id}", kind.collection())
    };
    if !own.is_empty() && own != whole {
        let field = format!("{}.name", kind.field());
        let rule = format!("the parent and the id make it {whole:?}");
        return Err(broken(&field, own, &rule, "leave one of the two out"));
    }
    Ok(whole)
}

/// An id that nobody chose: a letter and 60 bits.
fn chosen(seed: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let sum: [u8; 32] = Sha256::digest(seed).into();
    let digits = sum.iter().take(12).filter_map(|byte| DIGITS.get(usize::from(byte % 32)));
    std::iter::once('x').chain(digits.map(|digit| char::from(*digit))).collect()
}

/// The model's resource out of a message.
pub(super) fn read(message: v1::Resource) -> Result<Resource, Status> {
    message.try_into().map_err(|violations: Vec<Violation>| errors::invalid(&violations))
}

/// Violations of a write of one resource, with the names of fields that its method has: `port.mac` for `resources[0].port.mac`.
pub(super) fn of_one(error: WriteError) -> Status {
    let renamed = |violation: Violation| match violation.field.strip_prefix("resources[0].") {
        Some(field) => Violation { field: field.to_owned(), ..violation },
        None => violation,
    };
    let all = |violations: Vec<Violation>| violations.into_iter().map(renamed).collect();
    match error {
        WriteError::Invalid(violations) => WriteError::Invalid(all(violations)).into(),
        WriteError::Forbidden(violations) => WriteError::Forbidden(all(violations)).into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_name_comes_from_parent_and_id_or_stands_alone() {
        let port = |parent, id, own| name_for(ResourceKind::Port, parent, id, own, b"seed");
        let net = "tenants/t/networks/n";
        let whole = "tenants/t/networks/n/ports/p";
        assert_eq!(port(net, "p", "").unwrap(), whole);
        assert_eq!(port(net, "p", whole).unwrap(), whole);
        assert_eq!(port("", "", whole).unwrap(), whole);
        assert_eq!(port(net, "", whole).unwrap(), whole);
        let chosen = port(net, "", "").unwrap();
        assert!(chosen.parse::<AnyName>().is_ok() && chosen.starts_with(net), "{chosen}");
        for (parent, id, own) in [
            ("", "p", ""),
            ("", "", ""),
            ("tenants/-/networks/n", "p", ""),
            (net, "q", whole),
            ("tenants/u/networks/n", "", whole),
        ] {
            assert!(port(parent, id, own).is_err(), "{parent} {id} {own}");
        }
        assert_eq!(name_for(ResourceKind::Host, "", "h1", "", b"").unwrap(), "hosts/h1");
    }
}
