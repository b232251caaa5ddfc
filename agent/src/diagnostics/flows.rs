//! Connections with names.

use std::collections::BTreeMap;

use andromede_abi::{Address, EndpointMark, FlowKey, FlowRow, Slot, flow_flag, side_kind};
use andromede_dataplane::{TableError, Tables};
use andromede_proto::v1;

use super::HostNames;

/// Connections that are listed if the question names no limit.
const DEFAULT_LIMIT: u32 = 1000;

/// How long nothing was seen of a connection. `seen` may be a little ahead of `now`.
fn idle(row: &FlowRow, now: u64) -> u64 {
    now.saturating_sub(row.seen)
}

/// What a question is about.
struct Filter {
    network: Option<u32>,
    slot: Option<Slot>,
}

impl Filter {
    /// None if the network or the port is not here: then no connection is of it.
    fn new(request: &v1::ListFlowsRequest, names: &HostNames) -> Option<Self> {
        let wish = |text: &str, known: Option<u32>| if text.is_empty() { Some(None) } else { known.map(Some) };
        Some(Self {
            network: wish(&request.network, names.network_index(&request.network))?,
            slot: wish(&request.port, names.slot(&request.port))?,
        })
    }

    fn takes(&self, key: &FlowKey, row: &FlowRow) -> bool {
        self.network.is_none_or(|network| key.network == network)
            && self.slot.is_none_or(|slot| row.low.slot == slot || row.high.slot == slot)
    }
}

/// The connections of the host, of a network or of a port; the busiest first.
pub(super) fn list(
    host: &str,
    tables: &Tables,
    names: &HostNames,
    request: &v1::ListFlowsRequest,
    now: u64,
) -> Result<Vec<v1::Flow>, TableError> {
    let Some(filter) = Filter::new(request, names) else { return Ok(Vec::new()) };
    let limit = if request.limit == 0 { DEFAULT_LIMIT } else { request.limit };
    let mut found: Vec<(FlowKey, FlowRow)> = Vec::new();
    tables.flows.for_each(|key, row| {
        if filter.takes(&key, &row) && !row.is_over(now) {
            found.push((key, row));
        }
    })?;
    found.sort_by_key(|(_, row)| std::cmp::Reverse(row.seen));
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let epochs: BTreeMap<Slot, u32> = tables.epochs.all()?.into_iter().collect();
    let stale = |mark: &EndpointMark| epochs.get(&mark.slot).copied().unwrap_or(0) != mark.epoch;
    let named =
        found.iter().map(|(key, row)| describe(host, names, key, row, now, stale(&row.low) || stale(&row.high)));
    Ok(named.collect())
}

fn describe(host: &str, names: &HostNames, key: &FlowKey, row: &FlowRow, now: u64, stale: bool) -> v1::Flow {
    let low = (key.low, key.low_port);
    let high = (key.high, key.high_port);
    let (initiator, answerer) = if row.flags & flow_flag::HIGH_INITIATED == 0 { (low, high) } else { (high, low) };
    let has = |kind| row.low_kind == kind || row.high_kind == kind;
    let remote = match () {
        () if has(side_kind::REMOTE) => row.next_hop.underlay.to_string(),
        () if has(side_kind::HOST) => "node".to_owned(),
        () => "local".to_owned(),
    };
    v1::Flow {
        host: host.to_owned(),
        network: names.network(key.network),
        connection: row.connection,
        protocol: u32::from(key.protocol),
        initiator: Address::to_string(&initiator.0),
        initiator_port: u32::from(u16::from_be(initiator.1)),
        answerer: Address::to_string(&answerer.0),
        answerer_port: u32::from(u16::from_be(answerer.1)),
        state: key.state_name(row.state).to_owned(),
        stale,
        idle_nanos: idle(row, now),
        egress_rule: names.rule(row.egress_rule),
        ingress_rule: names.rule(row.ingress_rule),
        remote,
    }
}
