//! What a port may take.

use andromede_model::{PortLimits, RateLimits};

use super::fields::{Fields, FromMessage};
use crate::v1;

impl FromMessage for PortLimits {
    type Message = v1::PortLimits;

    fn read(message: v1::PortLimits, fields: &mut Fields<'_>) -> Option<Self> {
        let limits = Self {
            flows_inbound: message.flows_inbound,
            flows_outbound: message.flows_outbound,
            half_open_flows: message.half_open_flows,
            new_flows_per_second: message.new_flows_per_second,
            transmit: rate(message.transmit),
            receive: rate(message.receive),
        };
        let wrong: Vec<_> = limits.wrong().collect();
        let right = wrong.is_empty();
        for (field, error) in wrong {
            fields.check::<(), _>(field, Err(error));
        }
        right.then_some(limits)
    }
}

fn rate(message: Option<v1::RateLimits>) -> RateLimits {
    let v1::RateLimits { packets_per_second, bits_per_second } = message.unwrap_or_default();
    RateLimits { packets_per_second, bits_per_second }
}

impl From<RateLimits> for v1::RateLimits {
    fn from(limits: RateLimits) -> Self {
        Self { packets_per_second: limits.packets_per_second, bits_per_second: limits.bits_per_second }
    }
}

/// Limits that say nothing are left out.
pub(super) fn limits_message(limits: PortLimits) -> Option<v1::PortLimits> {
    let some = |rate: RateLimits| (rate != RateLimits::default()).then(|| rate.into());
    (limits != PortLimits::default()).then(|| v1::PortLimits {
        flows_inbound: limits.flows_inbound,
        flows_outbound: limits.flows_outbound,
        half_open_flows: limits.half_open_flows,
        new_flows_per_second: limits.new_flows_per_second,
        transmit: some(limits.transmit),
        receive: some(limits.receive),
    })
}
