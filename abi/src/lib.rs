//! Rows that the kernel and userspace both see: keys, values, layout versions, drop reasons, map names.
//!
//! Every row has a fixed size, explicit padding, and zero in what is reserved. Addresses take 16 bytes.
//! A row that is written while packets read it begins with a word that names its owner: a reader copies
//! the row and then reads that word again, because the kernel reuses hash elements without a grace period.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
#![allow(clippy::inline_always, reason = "the verifier and the packet path want one flat program")]
#![allow(unsafe_code, reason = "rows are read and written as bytes; pod.rs and counter.rs hold all of it")]

mod address;
mod budget;
mod config;
mod counter;
mod drop_reason;
mod event;
mod flow;
mod flow_layout1;
mod fragment;
mod identifiers;
mod location;
pub mod maps;
mod member;
mod meter;
mod network;
mod pod;
mod policy;
mod port;
mod rule_event;
mod verdict;

pub use address::Address;
pub use budget::{
    NEW_FLOW_BURST_NANOS, PortLimits, RATE_BURST_NANOS, ReapRequest, ReaperRow, TENANT_USAGE, Usage, UsageRow,
    reap_operation,
};
pub use config::{HostConfig, feature};
pub use counter::Counter;
pub use drop_reason::{DropReason, Stage};
pub use event::{DropCounterKey, DropEvent, EVENT_BURST, EVENT_KIND_DROP, EVENTS_PER_SECOND, EventBudget};
pub use flow::{
    Direction, EndpointMark, FlowKey, FlowRow, NextHop, flow_class, flow_flag, flow_hold, flow_state, side_kind,
};
pub use flow_layout1::FlowRow1;
pub use fragment::{Datagram, FRAGMENT_LIFETIME, FRAGMENT_PLACES, FragmentKey, FragmentRow, fragment_way};
pub use identifiers::{FORWARDED, HostIndex, Identity, Mac, NetworkIndex, PolicySet, RuleNumber, Slot, rule};
pub use location::{HostRow, LocationKey, LocationRow, PrefixKey, encapsulation, location_flag, location_kind};
pub use member::{MemberKey, MemberRow, member_flag};
pub use meter::{Meter, MeterIndex, MeterRow, meter_place};
pub use network::{NetworkRow, Timeouts, ZoneSet, network_flag};
pub use pod::{Pod, Prefixed, bytes_of, from_bytes};
pub use policy::{
    Action, CellKey, CellRow, IdentityClass, IdentityClassKey, PolicyPrefixKey, PrefixClasses, ServiceClasses,
    ServiceKey, cell_flag, pair, remote_level, service_level,
};
pub use port::{PortRow, SourceKey, port_flag};
pub use rule_event::{RULE_EVENTS_OF_PORT, RULE_EVENTS_OF_TENANT, RuleEvent, rule_direction};
pub use verdict::{OWN_MARK, VerdictRecord, hook, target};
