//! May packets of this network be sent to the host of the other end, and how?

use andromede_abi::{DropReason, HostRow, NextHop, Stage};

use crate::{
    stage::judge::{End, Opening},
    tables::Tables,
    verdict::Refusal,
};

/// The host of an end that is elsewhere, if the network may be there. In the kernel it is a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn host<T: Tables>(
    tables: &T,
    opening: &Opening,
    remote: &End,
    host: &mut HostRow,
    next_hop: &mut NextHop,
) -> Result<(), Refusal> {
    if !tables.copy_host(remote.host, host) {
        return Err(Refusal::new(Stage::Locate, DropReason::UnknownHost));
    }
    // Whoever placed the other end there: what this network's own row does not permit is not sent. Without a row nothing is known of it.
    if tables.with_network(opening.network, |network| network.admits(host.zone)) != Some(true) {
        return Err(Refusal::new(Stage::Locate, DropReason::ForbiddenZone));
    }
    *next_hop = NextHop {
        host: remote.host,
        ifindex: host.ifindex,
        vni: opening.vni,
        encapsulation: remote.encapsulation,
        key_id: remote.key_id,
        place: host.place as u16,
        underlay: host.underlay,
        gateway: host.gateway,
    };
    Ok(())
}
