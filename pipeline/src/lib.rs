//! The packet path: wire formats, the stages, and the walk that strings them together.
//!
//! The crate is pure: it reads a [`Frame`], looks into [`Tables`], and returns a [`Verdict`]. It touches no clock, no
//! chance and no map; time is an argument. It runs as the kernel program, in userspace on ordinary collections
//! (feature `memory`), and under tests and fuzzers. [`walk`] is the page on which the order can be read.
#![cfg_attr(not(any(test, feature = "memory")), no_std)]
#![allow(clippy::inline_always, reason = "the verifier and the packet path want one flat program")]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used))]

mod bucket;
mod budget;
mod claim;
mod context;
mod edit;
mod encapsulate;
mod fragment;
mod frame;
mod hooks;
mod inline;
mod judgement;
mod lifetime;
#[cfg(feature = "memory")]
pub mod memory;
mod meter;
mod microflow;
mod packet;
mod parse;
mod passage;
mod quote;
mod related;
mod report;
mod scratch;
mod stage;
mod stages;
mod tables;
mod too_big;
mod translation;
mod verdict;
pub mod walk;
pub mod wire;

pub use budget::{Account, Entry, Lack, change, enter_port, may_report};
pub use claim::{carry_out, is_asked, reap};
pub use context::{Context, Tunnel};
pub use edit::{apply_edit, apply_plain_edit, readdress, translate};
pub use encapsulate::{OUTER_TTL, OVERHEAD, outer_header};
pub use fragment::{Fragment, FragmentKind};
pub use frame::{Checksum, Frame, MAX_OFFSET};
pub use inline::Inline;
pub use judgement::Judgement;
pub use meter::Metered;
pub use microflow::{Microflow, Sight};
pub use packet::{Packet, Transport, flow_key};
pub use passage::{Recognised, follow, judge, part};
pub use report::rule_event;
pub use scratch::Scratch;
pub use stage::policy::ask;
pub use stages::Stages;
pub use tables::{FlowRef, NotPut, Put, Tables, UsageRef};
pub use translation::outward;
pub use verdict::{Claim, Edit, EditKind, Phase, Refusal, Target, TargetKind, Verdict};
pub use walk::decide;
