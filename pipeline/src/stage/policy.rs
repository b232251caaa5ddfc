//! Which rule decides? A constant number of lookups, whatever the number of rules.

use andromede_abi::{
    Action, Address, CellKey, CellRow, IdentityClassKey, PolicyPrefixKey, RuleNumber, ServiceKey, remote_class, rule,
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

/// The answer: does it pass, and by which rule. One word, as `Edit`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The rule that decided.
    pub(crate) rule: RuleNumber,
    /// May the connection be?
    pub(crate) allowed: bool,
    /// What the rule says besides: see [`andromede_abi::cell_flag`]. A default has none.
    pub(crate) flags: u8,
    reserved: u16,
}

impl Decision {
    #[inline(always)]
    const fn new(allowed: bool, rule: RuleNumber, flags: u8) -> Self {
        Self { rule, allowed, flags, reserved: 0 }
    }
}

/// Asks the rules.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn decide<T: Tables>(tables: &T, question: &Question<'_>) -> Decision {
    let default = Decision::new(question.port.default_allow, question.default_rule, 0);
    if question.port.set == 0 {
        return default;
    }
    let service = ServiceKey {
        set: question.port.set,
        protocol: (question.packet.protocol as u16).to_be(),
        port: question.packet.service_port,
    };
    let class = if question.packet.fragment.is_early() {
        tables.protocol_class(&service)
    } else {
        tables.service_class(&service)
    };
    let Some(service) = class else { return default };
    let cell = first_cell(tables, question, service);
    if cell.order == NO_RULE.order {
        return default;
    }
    Decision::new(cell.action == Action::Allow as u8, cell.rule, cell.flags)
}

/// What stands for a cell that is not there: no rule has this order. A value, and not a missing one, because the verifier
/// refuses to carry along what was never written.
const NO_RULE: CellRow =
    CellRow { order: u32::MAX, rule: rule::NONE, action: Action::Deny as u8, flags: 0, reserved: 0 };

/// The cell that stands first in the order of the rules, of those that the remote's classes lead to.
#[inline(always)]
fn first_cell<T: Tables>(tables: &T, question: &Question<'_>, service: u32) -> CellRow {
    let set = question.port.set;
    let cell = |remote| tables.cell(&CellKey { set, remote, service }).unwrap_or(NO_RULE);
    let mut first = cell(remote_class::ANY);
    let identity = IdentityClassKey { set, identity: question.other.identity };
    if identity.identity != 0
        && let Some(class) = tables.identity_class(&identity)
    {
        first = lower(first, cell(class));
    }
    if let Some(class) = tables.prefix_class(&PolicyPrefixKey { set, address: *question.remote }) {
        first = lower(first, cell(class));
    }
    first
}

#[inline(always)]
const fn lower(one: CellRow, other: CellRow) -> CellRow {
    if other.order < one.order { other } else { one }
}
