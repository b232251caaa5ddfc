//! Lists, page by page.

use andromede_model::{AnyName, Model, NetworkName, Resource, ResourceKind};
use andromede_proto::{filter::Filter, v1::ListRequest};
use sha2::{Digest as _, Sha256};
use tonic::Status;

use super::broken;
use crate::errors;

/// Most resources of a page.
const LARGEST: u32 = 1_000;
/// Resources of a page if nothing is said.
const USUAL: u32 = 100;
/// Most resources that are looked at for one page: a filter that few pass must not hold up others.
const LOOKED_AT: usize = 20_000;

/// The form of a kind's parent, as the parts of its name; a part in braces stands for any text.
pub(super) fn parent_form(kind: ResourceKind) -> &'static [&'static str] {
    match kind {
        ResourceKind::Zone | ResourceKind::Tenant | ResourceKind::Host | ResourceKind::OperatorPolicy => &[],
        ResourceKind::Network => &["tenants", "{tenant}"],
        ResourceKind::Subnet
        | ResourceKind::PrefixList
        | ResourceKind::Port
        | ResourceKind::SecurityGroup
        | ResourceKind::Vtep => &["tenants", "{tenant}", "networks", "{network}"],
    }
}

/// Checks the parent: "" or the form's parts, where "-" stands for any.
pub(super) fn parent_parts(kind: ResourceKind, parent: &str) -> Result<Vec<&str>, Status> {
    if parent.is_empty() {
        return Ok(Vec::new());
    }
    let form = parent_form(kind);
    let parts: Vec<_> = parent.split('/').collect();
    let fits = |(part, form): (&&str, &&str)| if form.starts_with('{') { !part.is_empty() } else { part == form };
    if form.is_empty() || parts.len() != form.len() || !parts.iter().zip(form).all(fits) {
        let rule = if form.is_empty() {
            format!("a {kind} has no parent")
        } else {
            format!("the parent of a {kind} has the form {:?}", form.join("/"))
        };
        return Err(broken("parent", parent, &rule, "leave it empty for all, or write \"-\" for any part"));
    }
    Ok(parts)
}

/// Where a resource stands in the order of lists: by network, then by name.
type Place = (Option<NetworkName>, AnyName);

fn place(name: AnyName) -> Place {
    (name.network(), name)
}

/// One page of a kind's resources, and the token of the next page; empty: this was the last.
pub(super) fn page(
    model: &Model,
    kind: ResourceKind,
    request: &ListRequest,
) -> Result<(Vec<Resource>, String), Status> {
    let parts = parent_parts(kind, &request.parent)?;
    let size = match request.page_size {
        0 => USUAL,
        size @ 1..=LARGEST => size,
        size => return Err(broken("page_size", size, "a page has at most 1000 resources", "ask for fewer")),
    };
    let filter = Filter::new(kind.name(), &request.filter).map_err(|violation| errors::invalid(&[violation]))?;
    let after = last_of(kind, request)?.map(place);
    let first = after.as_ref().and_then(|(network, _)| network.clone());
    let fits = |name: &str| parts.iter().zip(name.split('/')).all(|(wanted, part)| *wanted == "-" || *wanted == part);
    // Networks that the page cannot touch are passed over by their names: their content is never looked at.
    let of_networks = (model.networks())
        .filter(|network| first.as_ref().is_none_or(|first| *network >= first) && fits(network.as_str()))
        .flat_map(|network| model.all_in(network, kind));
    let all: Box<dyn Iterator<Item = Resource> + '_> = match kind {
        ResourceKind::Zone | ResourceKind::Tenant | ResourceKind::Host | ResourceKind::OperatorPolicy => {
            model.all(kind)
        }
        _ => Box::new(of_networks),
    };
    let mut rest =
        all.skip_while(|resource| after.as_ref().is_some_and(|after| place(resource.name()) <= *after)).peekable();
    let (mut page, mut last) = (Vec::new(), None);
    for resource in rest.by_ref().take(LOOKED_AT) {
        last = Some(resource.name());
        if filter.is_empty() || filter.admits(&resource.clone().into()) {
            page.push(resource);
        }
        if page.len() >= size as usize {
            break;
        }
    }
    let next = last.filter(|_| rest.peek().is_some()).map(|last| token(kind, request, &last)).unwrap_or_default();
    Ok((page, next))
}

/// Which list it is: a token of one is not taken by another.
fn list_sum(kind: ResourceKind, request: &ListRequest) -> u64 {
    let mut hash = Sha256::new();
    for part in [kind.name(), &request.parent, &request.filter] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The token of the page after a resource.
fn token(kind: ResourceKind, request: &ListRequest, last: &AnyName) -> String {
    format!("{:x}:{last}", list_sum(kind, request))
}

/// The resource after which the page begins; none: at the beginning.
fn last_of(kind: ResourceKind, request: &ListRequest) -> Result<Option<AnyName>, Status> {
    if request.page_token.is_empty() {
        return Ok(None);
    }
    let of_this_list = |sum: &str| u64::from_str_radix(sum, 16) == Ok(list_sum(kind, request));
    let name = request.page_token.split_once(':').filter(|(sum, _)| of_this_list(sum));
    name.and_then(|(_, name)| name.parse().ok()).map(Some).ok_or_else(|| {
        let fix = "give the next_page_token of the page before, and the same parent and filter; or none";
        broken("page_token", &request.page_token, "it is not a token of this list", fix)
    })
}
