//! What hosts may be used for.

use crate::{HostName, HostState, Port, Subnet, draft::Draft};

/// Checks the hosts of a write: being fenced is for good.
pub(super) fn check(draft: &mut Draft<'_>) {
    for name in draft.hosts.clone() {
        let (Some(before), Some(after)) = (draft.before.hosts.get(&name).cloned(), draft.after.hosts.get(&name)) else {
            continue;
        };
        let (state, underlay) = (after.state, after.underlay);
        if !before.is_fenced() {
            continue;
        }
        let fix = "delete it, and make it anew: it joins by a token of its own";
        if state != HostState::Fenced {
            let rule = "a host that was fenced stays so";
            draft.refuse(name.clone(), "state", format!("{state:?}").to_lowercase(), rule, fix);
        }
        if underlay != before.underlay {
            let rule = "the address of a host that was fenced rests until the host is deleted";
            draft.refuse(name, "underlay_address", underlay, rule, fix);
        }
    }
}

/// Why nothing new is placed on a host; none: it may be.
fn closed(draft: &Draft<'_>, host: &HostName) -> Option<&'static str> {
    match draft.after.hosts.get(host)?.state {
        HostState::Unset | HostState::Active => None,
        HostState::Draining => Some("the host is draining: nothing new is placed on it"),
        HostState::Fenced => Some("the host was fenced: nothing is placed on it any more"),
    }
}

/// Refuses a port that is placed on a host which takes nothing new. What the host itself starts in a subnet that is leased to it goes on
/// while it is draining: whoever drains it tells its kubelet, too.
pub(super) fn check_port(draft: &mut Draft<'_>, port: &Port, in_own_subnets: bool) {
    let Some(host) = &port.host else { return };
    let was_there = draft.before.port(&port.name).is_some_and(|before| before.host.as_ref() == Some(host));
    let fenced = draft.after.hosts.get(host).is_some_and(crate::Host::is_fenced);
    if was_there || (in_own_subnets && !fenced) {
        return;
    }
    if let Some(rule) = closed(draft, host) {
        draft.refuse(port.name.clone(), "host", host, rule, "place it on another host");
    }
}

/// Refuses a subnet that is leased to a host which takes nothing new.
pub(super) fn check_subnet(draft: &mut Draft<'_>, subnet: &Subnet) {
    let Some(host) = &subnet.host else { return };
    let before = draft.before.networks.get(&subnet.name.network()).and_then(|state| state.subnets.get(&subnet.name));
    if before.is_some_and(|before| before.host.as_ref() == Some(host)) {
        return;
    }
    if let Some(rule) = closed(draft, host) {
        draft.refuse(subnet.name.clone(), "host", host, rule, "lease it to another host");
    }
}
