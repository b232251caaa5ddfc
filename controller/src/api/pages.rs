//! Lists, page by page.

use andromede_model::{AnyName, Model, NetworkName, Resource, ResourceKind};
use andromede_proto::v1::ListRequest;
use tonic::Status;

use super::broken;

/// Most resources of a page.
const LARGEST: u32 = 1_000;
/// Resources of a page if nothing is said.
const USUAL: u32 = 100;

/// The form of a kind's parent, as the parts of its name; a part in braces stands for any text.
fn parent_form(kind: ResourceKind) -> &'static [&'static str] {
    match kind {
        ResourceKind::Tenant | ResourceKind::Host | ResourceKind::OperatorPolicy => &[],
        ResourceKind::Network => &["tenants", "{tenant}"],
        ResourceKind::Subnet
        | ResourceKind::PrefixList
        | ResourceKind::Port
        | ResourceKind::SecurityGroup
        | ResourceKind::Vtep => &["tenants", "{tenant}", "networks", "{network}"],
    }
}

/// Checks the parent: "" or the form's parts, where "-" stands for any.
fn parent_parts(kind: ResourceKind, parent: &str) -> Result<Vec<&str>, Status> {
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
    let after = if request.page_token.is_empty() {
        None
    } else {
        let unfit = || {
            let fix = "give the next_page_token of the page before, or none";
            broken("page_token", &request.page_token, "it is not a token of this list", fix)
        };
        Some(place(request.page_token.parse::<AnyName>().map_err(|_| unfit())?))
    };
    let first = after.as_ref().and_then(|(network, _)| network.clone());
    let fits = |name: &str| parts.iter().zip(name.split('/')).all(|(wanted, part)| *wanted == "-" || *wanted == part);
    // Networks that the page cannot touch are passed over by their names: their content is never looked at.
    let of_networks = (model.networks())
        .filter(|network| first.as_ref().is_none_or(|first| *network >= first) && fits(network.as_str()))
        .flat_map(|network| model.all_in(network, kind));
    let all: Box<dyn Iterator<Item = Resource> + '_> = match kind {
        ResourceKind::Tenant | ResourceKind::Host | ResourceKind::OperatorPolicy => model.all(kind),
        _ => Box::new(of_networks),
    };
    let mut rest = all.skip_while(|resource| after.as_ref().is_some_and(|after| place(resource.name()) <= *after));
    let page: Vec<_> = rest.by_ref().take(size as usize).collect();
    let next = match (rest.next(), page.last()) {
        (Some(_), Some(last)) => last.name().to_string(),
        _ => String::new(),
    };
    Ok((page, next))
}
