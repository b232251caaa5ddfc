//! Which rule decides? A constant number of lookups, whatever the number of rules.

use andromede_abi::{
    Action, Address, CellKey, CellRow, IdentityClassKey, PolicyPrefixKey, PolicySet, RuleNumber, ServiceKey, pair,
    remote_level, rule, service_level,
};

use crate::{packet::Packet, stage::judge::End, tables::Tables};

/// What one set is asked for, and what it says. It lies in the scratch space, of which the verifier remembers nothing, so that it
/// does not follow every answer to the end of the program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inquiry {
    /// The pairs of levels for which there may be cells.
    pairs: u32,
    /// Class of the remote at each level.
    remotes: [u32; remote_level::COUNT],
    /// Class of the service at each level.
    services: [u32; service_level::COUNT],
    /// The first cell that was found.
    answer: CellRow,
}

impl Inquiry {
    /// Nothing was asked yet.
    pub(crate) const NONE: Self =
        Self { pairs: 0, remotes: [0; remote_level::COUNT], services: [0; service_level::COUNT], answer: NO_RULE };
}

/// One question to the rules of one direction of one port.
pub(crate) struct Question<'a> {
    /// The port whose rules are asked.
    pub(crate) port: &'a mut End,
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

/// Asks the rules: the operator's first, then the tenant's. What neither decide the default does.
#[inline(always)]
pub(crate) fn decide<T: Tables>(tables: &T, question: &mut Question<'_>) -> Decision {
    let set = question.port.operator_set;
    ask(tables, question, set);
    if !is_final(question.port.inquiry.answer) {
        let set = question.port.set;
        ask(tables, question, set);
    }
    let answer = question.port.inquiry.answer;
    if is_final(answer) {
        return Decision::new(answer.action == Action::Allow as u8, answer.rule, answer.flags);
    }
    Decision::new(question.port.default_allow, question.default_rule, 0)
}

/// Does the cell say more than to ask the next tier?
#[inline(always)]
const fn is_final(cell: CellRow) -> bool {
    cell.order != NO_RULE.order && (cell.action == Action::Allow as u8 || cell.action == Action::Deny as u8)
}

/// Asks one set, and leaves the answer with the port. In the kernel it is a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn ask<T: Tables>(tables: &T, question: &mut Question<'_>, set: PolicySet) {
    question.port.inquiry.answer = NO_RULE;
    if set == 0 {
        return;
    }
    let service =
        ServiceKey { set, protocol: (question.packet.protocol as u16).to_be(), port: question.packet.service_port };
    let services = if question.packet.fragment.is_early() {
        tables.protocol_classes(&service)
    } else {
        tables.service_classes(&service)
    };
    let Some(services) = services else { return };
    let inquiry = &mut question.port.inquiry;
    inquiry.remotes = [0; remote_level::COUNT];
    inquiry.services = [0, services.inner, services.leaf];
    let mut pairs = pair::ANY_REMOTE;
    let identity = IdentityClassKey { set, identity: question.other.identity };
    if services.pairs & OF_IDENTITIES != 0
        && identity.identity != 0
        && let Some(row) = tables.identity_class(&identity)
    {
        inquiry.remotes[remote_level::IDENTITY] = row.class;
        pairs |= row.pairs;
    }
    if services.pairs & OF_PREFIXES != 0
        && let Some(row) = tables.prefix_classes(&PolicyPrefixKey { set, address: *question.remote })
    {
        inquiry.remotes[remote_level::TOP] = row.top;
        inquiry.remotes[remote_level::MIDDLE] = row.middle;
        inquiry.remotes[remote_level::LEAF] = row.leaf;
        pairs |= row.pairs;
    }
    inquiry.pairs = pairs & services.pairs;
    cells(tables, question, set);
}

/// Keeps the first of the cells that the classes lead to.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn cells<T: Tables>(tables: &T, question: &mut Question<'_>, set: PolicySet) {
    cells_of::<T, { service_level::ANY }>(tables, question, set);
    cells_of::<T, { service_level::INNER }>(tables, question, set);
    cells_of::<T, { service_level::LEAF }>(tables, question, set);
}

/// The cells of one level of services: written out, because the verifier follows a loop with all that it counts.
#[inline(always)]
fn cells_of<T: Tables, const SERVICE: usize>(tables: &T, question: &mut Question<'_>, set: PolicySet) {
    cell::<T, SERVICE, { remote_level::ANY }>(tables, question, set);
    cell::<T, SERVICE, { remote_level::IDENTITY }>(tables, question, set);
    cell::<T, SERVICE, { remote_level::TOP }>(tables, question, set);
    cell::<T, SERVICE, { remote_level::MIDDLE }>(tables, question, set);
    cell::<T, SERVICE, { remote_level::LEAF }>(tables, question, set);
}

/// Looks one cell up, and keeps it if it comes before the one that is kept.
#[inline(always)]
fn cell<T: Tables, const SERVICE: usize, const REMOTE: usize>(tables: &T, question: &mut Question<'_>, set: PolicySet) {
    let inquiry = &mut question.port.inquiry;
    if inquiry.pairs & pair::bit(SERVICE, REMOTE) == 0 {
        return;
    }
    let (Some(remote), Some(service)) = (inquiry.remotes.get(REMOTE), inquiry.services.get(SERVICE)) else { return };
    let (remote_level, service_level) = (REMOTE as u16, SERVICE as u16);
    let key = CellKey { set, remote: *remote, service: *service, remote_level, service_level };
    if let Some(cell) = tables.cell(&key)
        && cell.order < inquiry.answer.order
    {
        inquiry.answer = cell;
    }
}

/// The pairs with a class of identities.
const OF_IDENTITIES: u32 = pair::of_remote(remote_level::IDENTITY);
/// The pairs with a class of prefixes.
const OF_PREFIXES: u32 =
    pair::of_remote(remote_level::TOP) | pair::of_remote(remote_level::MIDDLE) | pair::of_remote(remote_level::LEAF);

/// What stands for a cell that is not there: no rule has this order. A value, and not a missing one, because the verifier
/// refuses to carry along what was never written.
const NO_RULE: CellRow =
    CellRow { order: u32::MAX, rule: rule::NONE, action: Action::Deny as u8, flags: 0, reserved: 0 };
