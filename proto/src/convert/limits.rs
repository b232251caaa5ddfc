//! What a port, and a tenant, may take.

use andromede_model::{PortLimits, RateLimits, TenantLimits, TenantQuotas, ValueError};

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
        are_right(limits.wrong().collect(), fields).then_some(limits)
    }
}

impl FromMessage for TenantLimits {
    type Message = v1::TenantLimits;

    fn read(message: v1::TenantLimits, fields: &mut Fields<'_>) -> Option<Self> {
        let limits = Self { flows_per_host: message.flows_per_host };
        are_right(limits.wrong().collect(), fields).then_some(limits)
    }
}

/// Tells each limit that is wrong; says whether there is none.
fn are_right(wrong: Vec<(&'static str, ValueError)>, fields: &mut Fields<'_>) -> bool {
    let right = wrong.is_empty();
    for (field, error) in wrong {
        fields.check::<(), _>(field, Err(error));
    }
    right
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
pub(super) fn tenant_limits_message(limits: TenantLimits) -> Option<v1::TenantLimits> {
    (limits != TenantLimits::default()).then_some(v1::TenantLimits { flows_per_host: limits.flows_per_host })
}

impl From<v1::TenantQuotas> for TenantQuotas {
    fn from(message: v1::TenantQuotas) -> Self {
        let v1::TenantQuotas { networks, subnets, ports, security_groups, rules, prefix_lists } = message;
        Self { networks, subnets, ports, security_groups, rules, prefix_lists }
    }
}

/// Quotas that say nothing are left out.
pub(super) fn tenant_quotas_message(quotas: TenantQuotas) -> Option<v1::TenantQuotas> {
    let TenantQuotas { networks, subnets, ports, security_groups, rules, prefix_lists } = quotas;
    let message = v1::TenantQuotas { networks, subnets, ports, security_groups, rules, prefix_lists };
    (quotas != TenantQuotas::default()).then_some(message)
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
