//! What was decided about a packet.

use andromede_abi::{
    DropReason, FlowRow, Mac, NetworkIndex, NextHop, RuleNumber, Slot, Stage, VerdictRecord, meter_place, rule, target,
};

use crate::{meter::Metered, scratch::Scratch};

/// Where a packet goes.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// Nowhere.
    Drop = 0,
    /// To the local port behind the interface.
    Deliver = 1,
    /// Into a tunnel, to the next hop of the row in the scratch space.
    Encap = 2,
    /// Back to the workload behind the interface, as an answer.
    Reply = 4,
    /// To the host's own stack, untouched.
    Host = 5,
    /// To the kernel's vxlan device, which decapsulates it; `from_overlay` judges it again.
    OverlayDevice = 6,
}

/// Where a packet goes, in one word without holes: the verifier refuses to copy what was never written.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which kind.
    pub kind: TargetKind,
    /// Outer UDP source port of a tunnel, network byte order; otherwise 0.
    pub source_port: u16,
    /// Host-side interface to deliver or reply to; otherwise 0.
    pub ifindex: u32,
}

impl Target {
    /// Nowhere.
    pub const DROP: Self = Self::plain(TargetKind::Drop);
    /// See [`TargetKind::Host`].
    pub const HOST: Self = Self::plain(TargetKind::Host);
    /// See [`TargetKind::OverlayDevice`].
    pub const OVERLAY_DEVICE: Self = Self::plain(TargetKind::OverlayDevice);

    const fn plain(kind: TargetKind) -> Self {
        Self { kind, source_port: 0, ifindex: 0 }
    }

    /// See [`TargetKind::Deliver`].
    #[inline(always)]
    pub const fn deliver(ifindex: u32) -> Self {
        Self { kind: TargetKind::Deliver, source_port: 0, ifindex }
    }

    /// See [`TargetKind::Encap`].
    #[inline(always)]
    pub const fn encap(source_port: u16) -> Self {
        Self { kind: TargetKind::Encap, source_port, ifindex: 0 }
    }

    /// See [`TargetKind::Reply`].
    #[inline(always)]
    pub const fn reply(ifindex: u32) -> Self {
        Self { kind: TargetKind::Reply, source_port: 0, ifindex }
    }
}

/// Which change of the header.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditKind {
    /// None.
    None = 0,
    /// Write the destination Ethernet address.
    Destination = 1,
    /// Turn the ARP request into its answer: the address has the target protocol address.
    ArpReply = 2,
    /// Turn the neighbour solicitation into its advertisement: the address has the target address.
    HostAdvertisement = 3,
    /// The same, and the target is a router.
    RouterAdvertisement = 4,
    /// Turn the packet into the ICMP error that says how large it may be: the first four bytes of the address are the number of bytes
    /// that pass, network byte order.
    TooBig = 5,
    /// Write the destination Ethernet address, and the workload's own address as the destination, see [`crate::translate`].
    TranslateDestination = 6,
    /// Write the port's infrastructure address as the source.
    TranslateSource = 7,
}

/// Changes of the header, as data; `apply_edit` carries them out. One word, because the verifier wants accesses to the
/// stack aligned and the compiler copies what is smaller in pieces that are not.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The Ethernet address that is written, or what the kind says.
    pub mac: Mac,
    /// What is done with it.
    pub kind: EditKind,
    reserved: u8,
}

impl Edit {
    /// Nothing changes.
    pub const NONE: Self = Self::new(EditKind::None, [0; 6]);

    /// See [`EditKind::TooBig`]; `largest` is in bytes.
    #[inline(always)]
    pub const fn too_big(largest: u32) -> Self {
        let [a, b, c, d] = largest.to_be_bytes();
        Self::new(EditKind::TooBig, [a, b, c, d, 0, 0])
    }

    /// Is an IP address translated?
    #[inline(always)]
    pub const fn is_translation(&self) -> bool {
        matches!(self.kind, EditKind::TranslateDestination | EditKind::TranslateSource)
    }

    /// This change, with this address.
    #[inline(always)]
    pub const fn new(kind: EditKind, mac: Mac) -> Self {
        Self { mac, kind, reserved: 0 }
    }
}

/// The state of a connection and how long it lasts, which are written together. One word, as [`Edit`].
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// See [`andromede_abi::flow_state`].
    pub state: u32,
    /// Seconds without a packet after which the connection is over.
    pub lifetime: u32,
}

impl Phase {
    /// That of a row.
    #[inline(always)]
    pub(crate) const fn of(row: &FlowRow) -> Self {
        Self { state: row.state, lifetime: row.lifetime }
    }
}

/// What the verdict asks of the flow table, for the connection whose key is in the scratch space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing.
    None,
    /// Write the time of its row.
    Seen,
    /// Write state and time of its row.
    Touch {
        /// Its new state.
        phase: Phase,
    },
    /// Insert or overwrite its row, which is in the scratch space.
    Open,
    /// Mark its row as cut.
    Cut {
        /// Its state, without the mark.
        state: u32,
        /// The rule that denies it now.
        rule: RuleNumber,
    },
}

/// Why a packet does not pass, and who said so. One word, as [`Edit`].
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule that decided, or [`rule::NONE`].
    pub rule: RuleNumber,
    /// The reason.
    pub reason: DropReason,
    /// The stage that refused.
    pub stage: Stage,
    reserved: u8,
}

impl Refusal {
    /// A refusal in which no rule was involved.
    #[inline(always)]
    pub const fn new(stage: Stage, reason: DropReason) -> Self {
        Self::by_rule(stage, reason, rule::NONE)
    }

    /// A refusal that this rule decided.
    #[inline(always)]
    pub const fn by_rule(stage: Stage, reason: DropReason, rule: RuleNumber) -> Self {
        Self { rule, reason, stage, reserved: 0 }
    }
}

/// What was decided about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Where it goes.
    pub target: Target,
    /// How its header changes.
    pub edit: Edit,
    /// What is asked of the flow table. It can fail after the decision: then the packet is dropped.
    pub claim: Claim,
    /// Why it is dropped, if it is.
    pub reason: Option<DropReason>,
    /// The rule that decided, or [`rule::NONE`].
    pub rule: RuleNumber,
    /// The stage that decided.
    pub stage: Stage,
    /// Local port concerned, or 0.
    pub port: Slot,
    /// Network, or 0.
    pub network: NetworkIndex,
    /// What it is counted to if it passes, see [`andromede_abi::meter_place`].
    pub place: u8,
}

impl Verdict {
    /// Nothing was decided yet: without a decision, a packet is dropped.
    pub const UNDECIDED: Self = Self {
        target: Target::DROP,
        edit: Edit::NONE,
        claim: Claim::None,
        reason: None,
        rule: rule::NONE,
        stage: Stage::Parse,
        port: 0,
        network: 0,
        place: meter_place::NONE,
    };

    /// Lets the packet pass.
    #[inline(always)]
    pub(crate) const fn pass(&mut self, stage: Stage, target: Target, edit: Edit, rule: RuleNumber) {
        (self.target, self.edit, self.stage, self.rule) = (target, edit, stage, rule);
    }

    /// Drops the packet. What was asked of the flow table stays: a cut is carried out although its packet is dropped.
    #[inline(always)]
    pub(crate) const fn refuse(&mut self, refusal: Refusal) {
        self.target = Target::DROP;
        (self.reason, self.stage, self.rule) = (Some(refusal.reason), refusal.stage, refusal.rule);
    }

    /// The verdict as a record of fixed layout.
    #[inline(always)]
    pub fn record(&self, hook: u8, scratch: &Scratch) -> VerdictRecord {
        let metered = Metered::of(scratch);
        VerdictRecord {
            hook,
            target: self.target.kind as u8,
            stage: self.stage as u8,
            claim: match self.claim {
                Claim::None => 0,
                Claim::Seen | Claim::Touch { .. } => 1,
                Claim::Open => 2,
                Claim::Cut { .. } => 3,
            },
            reason: self.reason.map_or(0, |reason| reason as u16),
            edit: self.edit.kind as u8,
            logged: scratch.logged,
            rule: self.rule,
            port: self.port,
            network: self.network,
            ifindex: self.target.ifindex,
            mac: self.edit.mac,
            outer_port: self.target.source_port,
            next_hop: if self.target.kind == TargetKind::Encap { scratch.row.next_hop } else { NextHop::NONE },
            meter: metered.meter,
            place: metered.place,
            flows: metered.flows,
            packets: metered.packets,
            bytes: metered.bytes,
            reserved: 0,
        }
    }
}

const _: () = assert!(
    TargetKind::Drop as u8 == target::DROP
        && TargetKind::Deliver as u8 == target::DELIVER
        && TargetKind::Encap as u8 == target::ENCAP
        && TargetKind::Reply as u8 == target::REPLY
        && TargetKind::Host as u8 == target::HOST
        && TargetKind::OverlayDevice as u8 == target::OVERLAY_DEVICE
);
