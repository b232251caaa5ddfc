//! Which rule decides? A constant number of lookups, whatever the number of rules.

use andromede_abi::{
    Action, Address, CellKey, CellRow, DropReason, Identity, IdentityClassKey, PolicyPrefixKey, PolicySet, RuleNumber,
    ServiceKey, pair, remote_level, rule, service_level,
};

use crate::{scratch::Scratch, stage::side::Side, stages::Stages, tables::Tables, verdict::Refusal};

/// What one set is asked, and what it says. It lies in the scratch space.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inquiry {
    /// The other side's address.
    remote: Address,
    /// The other side's identity; 0: none.
    identity: Identity,
    /// The set that is asked; 0: none.
    set: PolicySet,
    /// The service: its protocol, and its port in network byte order.
    protocol: u8,
    /// The port is not known: what holds for the protocol whatever the port is asked for.
    any_port: bool,
    /// A set that was asked has no rows, which every set has.
    is_missing: bool,
    reserved: u8,
    port: u16,
    reserved_too: u16,
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
    pub(crate) const NONE: Self = Self {
        remote: Address::UNSPECIFIED,
        identity: 0,
        set: 0,
        protocol: 0,
        any_port: false,
        is_missing: false,
        reserved: 0,
        port: 0,
        reserved_too: 0,
        pairs: 0,
        remotes: [0; remote_level::COUNT],
        services: [0; service_level::COUNT],
        answer: NO_RULE,
    };
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
    /// The end is no port of this host: its rules are asked elsewhere.
    pub(crate) const NOT_ASKED: Self = Self::new(true, rule::NONE, 0);
    /// The node itself sends to a port that admits it: probes pass whatever the rules say.
    pub(crate) const NODE: Self = Self::new(true, rule::NODE, 0);

    #[inline(always)]
    const fn new(allowed: bool, rule: RuleNumber, flags: u8) -> Self {
        Self { rule, allowed, flags, reserved: 0 }
    }
}

/// Asks the rules of one end: the operator's first, then the tenant's. What neither decide the default does.
///
/// # Errors
/// A set that is named has no rows: tables are changing.
#[inline(always)]
pub(crate) fn decide<T: Stages>(tables: &T, scratch: &mut Scratch, side: Side) -> Result<Decision, Refusal> {
    let Scratch { inquiry, opening_packet: packet, initiator, answerer, .. } = scratch;
    let (end, other, remote) = match side {
        Side::Initiator => (initiator, answerer, packet.destination),
        Side::Answerer => (answerer, initiator, packet.source),
    };
    (inquiry.remote, inquiry.identity, inquiry.protocol) = (remote, other.identity, packet.protocol);
    (inquiry.port, inquiry.any_port) = (packet.service_port, packet.fragment.is_early());
    let (operator_set, set, default_allow) = (end.operator_set, end.set, end.default_allow);
    (inquiry.set, inquiry.is_missing) = (operator_set, false);
    tables.ask(scratch);
    if !is_final(scratch.inquiry.answer) {
        scratch.inquiry.set = set;
        tables.ask(scratch);
    }
    if scratch.inquiry.is_missing {
        return Err(Refusal::new(side.stage(), DropReason::NetworkChanging));
    }
    let answer = scratch.inquiry.answer;
    if is_final(answer) {
        return Ok(Decision::new(answer.action == Action::Allow as u8, answer.rule, answer.flags));
    }
    Ok(Decision::new(default_allow, side.default_rule(), 0))
}

/// Does the cell say more than to ask the next tier?
#[inline(always)]
const fn is_final(cell: CellRow) -> bool {
    cell.order != NO_RULE.order && (cell.action == Action::Allow as u8 || cell.action == Action::Deny as u8)
}

/// Asks one set: a constant number of lookups, whatever the number of its rules.
#[inline(always)]
pub fn ask<T: Tables>(tables: &T, scratch: &mut Scratch) {
    let inquiry = &mut scratch.inquiry;
    inquiry.answer = NO_RULE;
    if inquiry.set == 0 {
        return;
    }
    let service = ServiceKey { set: inquiry.set, protocol: u16::from(inquiry.protocol).to_be(), port: inquiry.port };
    let services = if inquiry.any_port { tables.protocol_classes(&service) } else { tables.service_classes(&service) };
    let Some(services) = services else {
        inquiry.is_missing = true;
        return;
    };
    inquiry.remotes = [0; remote_level::COUNT];
    inquiry.services = [0, services.inner, services.leaf];
    let mut pairs = pair::ANY_REMOTE;
    let identity = IdentityClassKey { set: inquiry.set, identity: inquiry.identity };
    if services.pairs & OF_IDENTITIES != 0
        && identity.identity != 0
        && let Some(row) = tables.identity_class(&identity)
    {
        inquiry.remotes[remote_level::IDENTITY] = row.class;
        pairs |= row.pairs;
    }
    if services.pairs & OF_PREFIXES != 0
        && let Some(row) = tables.prefix_classes(&PolicyPrefixKey { set: inquiry.set, address: inquiry.remote })
    {
        inquiry.remotes[remote_level::TOP] = row.top;
        inquiry.remotes[remote_level::MIDDLE] = row.middle;
        inquiry.remotes[remote_level::LEAF] = row.leaf;
        pairs |= row.pairs;
    }
    inquiry.pairs = pairs & services.pairs;
    cells_of::<T, { service_level::ANY }>(tables, inquiry);
    cells_of::<T, { service_level::INNER }>(tables, inquiry);
    cells_of::<T, { service_level::LEAF }>(tables, inquiry);
}

/// The cells of one level of services: written out, because the verifier follows a loop with all that it counts.
#[inline(always)]
fn cells_of<T: Tables, const SERVICE: usize>(tables: &T, inquiry: &mut Inquiry) {
    cell::<T, SERVICE, { remote_level::ANY }>(tables, inquiry);
    cell::<T, SERVICE, { remote_level::IDENTITY }>(tables, inquiry);
    cell::<T, SERVICE, { remote_level::TOP }>(tables, inquiry);
    cell::<T, SERVICE, { remote_level::MIDDLE }>(tables, inquiry);
    cell::<T, SERVICE, { remote_level::LEAF }>(tables, inquiry);
}

/// Looks one cell up, and keeps it if it comes before the one that is kept.
#[inline(always)]
fn cell<T: Tables, const SERVICE: usize, const REMOTE: usize>(tables: &T, inquiry: &mut Inquiry) {
    if inquiry.pairs & pair::bit(SERVICE, REMOTE) == 0 {
        return;
    }
    let (Some(remote), Some(service)) = (inquiry.remotes.get(REMOTE), inquiry.services.get(SERVICE)) else { return };
    let (remote_level, service_level) = (REMOTE as u16, SERVICE as u16);
    let key = CellKey { set: inquiry.set, remote: *remote, service: *service, remote_level, service_level };
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
