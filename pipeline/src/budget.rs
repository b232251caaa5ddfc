//! Budgets: what connections and packets take of what a port and a tenant may have.
//!
//! A row of the flow table takes a place of each port of this host at its ends, and one of its tenant. What it took stands in the row
//! (`Account`), and is given back by whoever takes the row away. All numbers change in single instructions: no order of
//! processors leaves a sum that is not that of the rows.

use andromede_abi::{
    DropReason, FlowRow, NEW_FLOW_BURST_NANOS, PortLimits, RATE_BURST_NANOS, RULE_EVENTS_OF_PORT,
    RULE_EVENTS_OF_TENANT, Slot, Stage, TENANT_USAGE, Usage, flow_hold, flow_state,
};

use crate::{
    bucket::draw,
    stage::{judge::End, side::Side},
    stages::Stages,
    tables::{Tables, UsageRef},
    verdict::Refusal,
    wire::ip_protocol,
};

const SECOND: u64 = 1_000_000_000;

/// What a row counts against, and how.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// See [`FlowRow::hold`]; 0: nowhere.
    pub hold: u64,
    /// See [`FlowRow::initiator_budget`].
    pub initiator: Slot,
    /// See [`FlowRow::answerer_budget`].
    pub answerer: Slot,
    /// See [`FlowRow::tenant`].
    pub tenant: u32,
    /// 1: it is that of a row; 0: there is none.
    pub row: u32,
}

impl Account {
    /// Nothing was taken.
    pub const NONE: Self = Self { hold: 0, initiator: 0, answerer: 0, tenant: 0, row: 0 };

    /// What this row took.
    #[inline(always)]
    pub const fn of(row: &FlowRow) -> Self {
        Self {
            hold: row.hold,
            initiator: row.initiator_budget,
            answerer: row.answerer_budget,
            tenant: row.tenant,
            row: 1,
        }
    }

    /// Is it that of a row?
    #[inline(always)]
    pub(crate) const fn is_of_row(&self) -> bool {
        self.row != 0
    }

    #[inline(always)]
    const fn is_counted(&self) -> bool {
        self.hold != 0
    }

    #[inline(always)]
    const fn is_half_open(&self) -> bool {
        self.hold & flow_hold::HALF_OPEN != 0
    }

    /// Is the row being taken away by somebody?
    #[inline(always)]
    pub(crate) const fn is_locked(&self) -> bool {
        self.hold & flow_hold::LOCKED != 0
    }
}

/// Is a connection of this state more than half open? One that its answerer has reset is: it will be over soon.
#[inline(always)]
pub(crate) const fn is_answered(protocol: u8, state: u32) -> bool {
    match protocol {
        ip_protocol::TCP | ip_protocol::SCTP => state & (flow_state::ESTABLISHED | flow_state::RESET_BACKWARD) != 0,
        _ => state & flow_state::REPLIED != 0,
    }
}

/// The hold of a connection with this number and state.
#[inline(always)]
pub(crate) const fn hold(connection: u64, protocol: u8, state: u32) -> u64 {
    let half = if is_answered(protocol, state) { 0 } else { flow_hold::HALF_OPEN };
    connection & !flow_hold::BITS | half
}

/// The words of usage in which a new connection counts at an end, and the bucket of its rate.
#[inline(always)]
const fn words(side: Side) -> (Usage, Usage, Usage) {
    match side {
        Side::Initiator => (Usage::Outbound, Usage::OutboundHalfOpen, Usage::NewOutbound),
        Side::Answerer => (Usage::Inbound, Usage::InboundHalfOpen, Usage::NewInbound),
    }
}

/// Takes what a new connection takes: all of it, or nothing. `tenant_flows` is the most that its tenant may have.
///
/// # Errors
/// Who has no place left, as its slot, and why.
#[inline(always)]
pub(crate) fn take<T: Stages>(
    tables: &T,
    initiator: &End,
    answerer: &End,
    account: &Account,
    tenant_flows: u32,
    now: u64,
) -> Result<(), (Slot, Refusal)> {
    let half = account.is_half_open();
    enter(tables, initiator, Side::Initiator, half, now).map_err(|reason| refused(initiator, reason))?;
    if let Err(reason) = enter(tables, answerer, Side::Answerer, half, now) {
        leave(tables, account.initiator, Side::Initiator, half);
        return Err(refused(answerer, reason));
    }
    if account.tenant == 0 {
        return Ok(());
    }
    let reason = match tables.usage(account.tenant | TENANT_USAGE) {
        Some(usage) if admit(&usage, Usage::Inbound, tenant_flows) => return Ok(()),
        Some(_) => DropReason::TenantFlows,
        None => DropReason::BudgetTableFull,
    };
    leave(tables, account.initiator, Side::Initiator, half);
    leave(tables, account.answerer, Side::Answerer, half);
    let blamed = if account.initiator == 0 { answerer } else { initiator };
    Err(refused(blamed, reason))
}

#[inline(always)]
fn refused(end: &End, reason: DropReason) -> (Slot, Refusal) {
    (end.slot(), Refusal::new(Stage::Claim, reason))
}

/// Takes without asking: a connection that lives and was judged again is never refused for want of room.
#[inline(always)]
pub(crate) fn take_anyway<T: Stages>(tables: &T, account: &Account) {
    tables.change(account, 1);
}

/// Gives back what a row took.
#[inline(always)]
pub(crate) fn give_back<T: Stages>(tables: &T, account: &Account) {
    tables.change(account, -1);
}

/// A connection that was half-open is no longer.
#[inline(always)]
pub(crate) fn give_back_half_open<T: Tables>(tables: &T, account: &Account) {
    add(tables, account.initiator, Usage::OutboundHalfOpen, -1);
    add(tables, account.answerer, Usage::InboundHalfOpen, -1);
}

/// Adds `by` to all that a row counts on.
#[inline(always)]
pub fn change<T: Tables>(tables: &T, account: &Account, by: i64) {
    if !account.is_counted() {
        return;
    }
    add(tables, account.initiator, Usage::Outbound, by);
    add(tables, account.answerer, Usage::Inbound, by);
    if account.is_half_open() {
        add(tables, account.initiator, Usage::OutboundHalfOpen, by);
        add(tables, account.answerer, Usage::InboundHalfOpen, by);
    }
    if account.tenant != 0 {
        add(tables, account.tenant | TENANT_USAGE, Usage::Inbound, by);
    }
}

#[inline(always)]
fn add<T: Tables>(tables: &T, key: u32, usage: Usage, by: i64) {
    if key != 0
        && let Some(row) = tables.usage(key)
    {
        row.add(usage, by);
    }
}

/// One end takes its place, if it is a port of this host.
#[inline(always)]
fn enter<T: Stages>(tables: &T, end: &End, side: Side, half: bool, now: u64) -> Result<(), DropReason> {
    if !end.is_local() {
        return Ok(());
    }
    let entry = Entry {
        slot: end.slot(),
        flows_most: end.flows_most,
        half_open_most: end.half_open_most,
        new_flows_per_second: end.new_flows_per_second,
        is_outbound: matches!(side, Side::Initiator),
        is_half_open: half,
    };
    match (tables.enter(&entry, now), side) {
        (Lack::Nothing, _) => Ok(()),
        (Lack::Flows, Side::Initiator) => Err(DropReason::FlowsOutbound),
        (Lack::Flows, Side::Answerer) => Err(DropReason::FlowsInbound),
        (Lack::HalfOpen, _) => Err(DropReason::HalfOpen),
        (Lack::Rate, _) => Err(DropReason::NewFlowRate),
        (Lack::Row, _) => Err(DropReason::BudgetTableFull),
    }
}

/// A port of this host at an end of a new connection, and what it may have at most; 0: no limit.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The port.
    pub slot: Slot,
    /// Connections of this direction.
    pub flows_most: u32,
    /// Those of them that are half-open.
    pub half_open_most: u32,
    /// New ones a second.
    pub new_flows_per_second: u32,
    /// The port opens it.
    pub is_outbound: bool,
    /// It is half-open.
    pub is_half_open: bool,
}

/// What a port has no more of.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It has what it asks for.
    Nothing = 0,
    /// Places of connections.
    Flows = 1,
    /// Places of half-open ones.
    HalfOpen = 2,
    /// Tokens of a rate.
    Rate = 3,
    /// A row to count in.
    Row = 4,
}

impl Lack {
    /// The variant with this number; any other number is that of a row that is not there.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Nothing,
            1 => Self::Flows,
            2 => Self::HalfOpen,
            3 => Self::Rate,
            _ => Self::Row,
        }
    }
}

/// A port of this host takes its place.
#[inline(always)]
pub fn enter_port<T: Tables>(tables: &T, entry: &Entry, now: u64) -> Lack {
    let Some(usage) = tables.usage(entry.slot) else { return Lack::Row };
    let half = entry.is_half_open;
    let (flows, half_open, bucket) = words(if entry.is_outbound { Side::Initiator } else { Side::Answerer });
    if !admit(&usage, flows, entry.flows_most) {
        return Lack::Flows;
    }
    if half && !admit(&usage, half_open, entry.half_open_most) {
        usage.add(flows, -1);
        return Lack::HalfOpen;
    }
    if entry.new_flows_per_second != 0 {
        let cost = SECOND.checked_div(u64::from(entry.new_flows_per_second)).unwrap_or(0);
        if !draw(&usage, bucket, cost, NEW_FLOW_BURST_NANOS, now) {
            usage.add(flows, -1);
            if half {
                usage.add(half_open, -1);
            }
            return Lack::Rate;
        }
    }
    Lack::Nothing
}

/// Undoes [`enter`], but for the token: it was an attempt.
#[inline(always)]
fn leave<T: Tables>(tables: &T, slot: Slot, side: Side, half: bool) {
    let (flows, half_open, _) = words(side);
    add(tables, slot, flows, -1);
    if half {
        add(tables, slot, half_open, -1);
    }
}

/// Adds one, unless there are as many as may be. 0 is no limit.
#[inline(always)]
fn admit<U: UsageRef>(usage: &U, word: Usage, most: u32) -> bool {
    let before = usage.add(word, 1).cast_signed();
    if most == 0 || before < i64::from(most) {
        return true;
    }
    usage.add(word, -1);
    false
}

/// May a rule of this port send an event? Takes a token of the port and one of its tenant; counts at the port if there is none. Without
/// a row of usage nothing passes at the port, and no event is sent either.
#[inline(always)]
pub fn may_report<T: Tables>(tables: &T, slot: Slot, tenant: u32, now: u64) -> bool {
    const PORT_COST: u64 = SECOND / RULE_EVENTS_OF_PORT;
    const TENANT_COST: u64 = SECOND / RULE_EVENTS_OF_TENANT;
    let Some(usage) = tables.usage(slot) else { return false };
    // The port's comes first: what is too much for it takes nothing from the tenant's other ports.
    let may = draw(&usage, Usage::RuleEvents, PORT_COST, SECOND, now)
        && tables
            .usage(tenant | TENANT_USAGE)
            .is_some_and(|of_tenant| draw(&of_tenant, Usage::RuleEvents, TENANT_COST, SECOND, now));
    if !may {
        usage.add(Usage::RuleEventsLost, 1);
    }
    may
}

/// A frame as rates count it: all segments, each with its headers. One word, as `Edit`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) packets: u32,
    pub(crate) bytes: u32,
}

impl Size {
    /// Of a frame of `length` bytes, whose segments carry `gso_size` bytes each behind `headers` bytes from the Ethernet header on.
    #[inline(always)]
    pub(crate) fn new(length: u32, gso_size: u32, headers: u32) -> Self {
        let payload = length.saturating_sub(headers);
        if gso_size == 0 || payload <= gso_size {
            return Self { packets: 1, bytes: length };
        }
        let whole = payload.checked_div(gso_size).unwrap_or(0);
        let rest = payload.wrapping_sub(whole.wrapping_mul(gso_size));
        let packets = if rest == 0 { whole } else { whole.wrapping_add(1) };
        Self { packets, bytes: payload.wrapping_add(packets.wrapping_mul(headers)) }
    }
}

/// What a port sends, or receives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    Transmit,
    Receive,
}

/// Takes the tokens for a frame that a policed port sends or receives. In the kernel a function of its own, for its stack.
///
/// # Errors
/// It is more than the rate allows.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn police<T: Tables>(
    tables: &T,
    slot: Slot,
    limits: &PortLimits,
    traffic: Traffic,
    size: Size,
    now: u64,
) -> Result<(), DropReason> {
    let Some(usage) = tables.usage(slot) else { return Err(DropReason::BudgetTableFull) };
    let (packets, kilobits) = match traffic {
        Traffic::Transmit => (limits.transmit_packets, limits.transmit_kilobits),
        Traffic::Receive => (limits.receive_packets, limits.receive_kilobits),
    };
    let (packet_bucket, bit_bucket) = match traffic {
        Traffic::Transmit => (Usage::TransmitPackets, Usage::TransmitBits),
        Traffic::Receive => (Usage::ReceivePackets, Usage::ReceiveBits),
    };
    if packets != 0 {
        let cost = u64::from(size.packets).wrapping_mul(SECOND).checked_div(u64::from(packets)).unwrap_or(0);
        if !draw(&usage, packet_bucket, cost, RATE_BURST_NANOS, now) {
            return Err(if traffic == Traffic::Transmit {
                DropReason::TransmitPackets
            } else {
                DropReason::ReceivePackets
            });
        }
    }
    if kilobits != 0 {
        // A bit takes 1,000,000 ns divided by the rate in thousand bits a second.
        let cost = u64::from(size.bytes).wrapping_mul(8_000_000).checked_div(u64::from(kilobits)).unwrap_or(0);
        if !draw(&usage, bit_bucket, cost, RATE_BURST_NANOS, now) {
            return Err(if traffic == Traffic::Transmit { DropReason::TransmitBits } else { DropReason::ReceiveBits });
        }
    }
    Ok(())
}
