//! Which rule decides? A constant number of lookups, whatever the number of rules.

use andromede_abi::{
    Action, Address, CellKey, CellRow, IdentityClassKey, PolicyPrefixKey, RuleNumber, ServiceKey, remote_class,
};

use crate::{packet::Packet, stage::judge::End, tables::Tables};

/// One question to the rules of one direction of one port.
pub(crate) struct Question<'a> {
    /// The port whose rules are asked.
    pub(crate) port: &'a End,
    /// The other side.
    pub(crate) other: &'a End,
    /// The packet that opens the connection.
    pub(crate) packet: &'a Packet,
    /// Address of the other side.
    pub(crate) remote: &'a Address,
    /// The number of what holds if no rule matches.
    pub(crate) default_rule: RuleNumber,
}

/// The answer: does it pass, and by which rule.
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    pub(crate) rule: RuleNumber,
}

/// Asks the rules.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn decide<T: Tables>(tables: &T, question: &Question<'_>) -> Decision {
    let default = Decision { allowed: question.port.default_allow, rule: question.default_rule };
    if question.port.set == 0 {
        return default;
    }
    let service = ServiceKey {
        set: question.port.set,
        protocol: (question.packet.protocol as u16).to_be(),
        port: question.packet.service_port,
    };
    let Some(service) = tables.service_class(&service) else { return default };
    match first_cell(tables, question, service) {
        Some(cell) => Decision { allowed: cell.action == Action::Allow as u8, rule: cell.rule },
        None => default,
    }
}

#[inline(always)]
fn first_cell<T: Tables>(tables: &T, question: &Question<'_>, service: u32) -> Option<CellRow> {
    let set = question.port.set;
    let cell = |remote| tables.cell(&CellKey { set, remote, service });
    let mut first = cell(remote_class::ANY);
    let identity = IdentityClassKey { set, identity: question.other.identity };
    if question.other.identity != 0
        && let Some(class) = tables.identity_class(&identity)
    {
        first = lower(first, cell(class));
    }
    if let Some(class) = tables.prefix_class(&PolicyPrefixKey { set, address: *question.remote }) {
        first = lower(first, cell(class));
    }
    first
}

/// The cell that stands first in the order of the rules.
#[inline(always)]
fn lower(one: Option<CellRow>, other: Option<CellRow>) -> Option<CellRow> {
    match (one, other) {
        (Some(a), Some(b)) => Some(if b.order < a.order { b } else { a }),
        (a, None) => a,
        (None, b) => b,
    }
}
