//! A host that was fenced loses its membership everywhere before its addresses are used again.
//!
//! From the commit on it is in no network's view, and its session is over. But each host hears of that at a time of its own, and until
//! then it takes the fenced one's packets. So what is placed on a fenced host stays as it is until every host that shares a network with
//! it has applied the fence: neither the addresses of its ports nor its own can be given to another before.

use andromede_model::{AnyName, Commit, Host, HostName, Model, Port, Resource, ResourceKind, Subnet};

use crate::{
    change::{Change, Condition, WriteError},
    publish::Publisher,
    registry::Registry,
};

/// A write that comes too early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillMember {
    /// The fenced host.
    pub host: HostName,
    /// What would be moved or deleted.
    pub name: AnyName,
    /// Hosts that have yet to apply the fence.
    pub behind: Vec<HostName>,
}

/// The hosts that share a network with a fenced one, and have not said yet that they applied the fence; and those that shared one before,
/// and have not said yet that they left it.
pub fn behind(publisher: &Publisher, registry: &Registry, model: &Model, fenced: &Host) -> Vec<HostName> {
    let mut others = publisher.sharing(&fenced.name);
    others.retain(|other, _| model.host(other).is_some_and(|host| !host.is_fenced()));
    // The fence was the last write of the host, or stands before it.
    let knows = |other: &HostName, left: Option<u64>| {
        registry.state(other.as_str()).has_applied(left.unwrap_or(fenced.revision).min(fenced.revision))
    };
    others.retain(|other, left| !knows(other, *left));
    others.into_keys().collect()
}

/// Refuses a commit that moves or deletes what is placed on a fenced host, or the host, while others are `behind`.
pub fn check(before: &Model, commit: &Commit, behind: &dyn Fn(&Host) -> Vec<HostName>) -> Result<(), WriteError> {
    let written = commit.written.iter().filter_map(|resource| Some((resource.name(), left(before, resource)?)));
    let deleted = commit.deleted.iter().filter_map(|name| Some((name.clone(), holder(before, name)?)));
    for (name, host) in written.chain(deleted) {
        let Some(fenced) = before.host(&host).filter(|host| host.is_fenced()) else { continue };
        let behind = behind(fenced);
        if !behind.is_empty() {
            return Err(WriteError::StillMember(Box::new(StillMember { host, name, behind })));
        }
    }
    Ok(())
}

/// The host that a resource is placed on; a host itself.
fn holder(model: &Model, name: &AnyName) -> Option<HostName> {
    match model.get(name)? {
        Resource::Port(port) => port.host,
        Resource::Subnet(subnet) => subnet.host,
        Resource::Host(host) => Some(host.name),
        _ => None,
    }
}

/// The host that loses the resource, or addresses of it, by this write.
fn left(before: &Model, after: &Resource) -> Option<HostName> {
    match (before.get(&after.name())?, after) {
        (Resource::Port(Port { host, addresses, .. }), Resource::Port(after)) => {
            host.filter(|host| after.host.as_ref() != Some(host) || after.addresses != addresses)
        }
        (Resource::Subnet(Subnet { host, cidr, .. }), Resource::Subnet(after)) => {
            host.filter(|host| after.host.as_ref() != Some(host) || after.cidr != cidr)
        }
        _ => None,
    }
}

/// Adds to a change what takes everything off a host: ports are placed nowhere, leased subnets are nobody's, and ports in those, which the
/// host itself made, are deleted. Each is to be as it was looked at.
pub fn release(model: &Model, host: &HostName, change: &mut Change) {
    for network in model.networks_of(host) {
        let mut leased = Vec::new();
        for resource in model.all_in(&network, ResourceKind::Subnet) {
            if let Resource::Subnet(subnet) = resource
                && subnet.host.as_ref() == Some(host)
            {
                leased.push(subnet.cidr);
                change.conditions.push((subnet.name.clone().into(), Condition::At(subnet.revision)));
                change.written.push(Subnet { host: None, ..subnet }.into());
            }
        }
        for resource in model.all_in(&network, ResourceKind::Port) {
            let Resource::Port(port) = resource else { continue };
            if port.host.as_ref() != Some(host) {
                continue;
            }
            change.conditions.push((port.name.clone().into(), Condition::At(port.revision)));
            if port.addresses.iter().all(|address| leased.iter().any(|cidr| cidr.contains(*address))) {
                change.deleted.push(port.name.into());
            } else {
                change.written.push(Port { host: None, ..port }.into());
            }
        }
    }
}
