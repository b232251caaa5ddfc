//! What was decided about a packet.

use andromede_abi::{DropReason, Mac, NetworkIndex, NextHop, RuleNumber, Slot, Stage, VerdictRecord, rule, target};

use crate::scratch::Scratch;

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    Drop,
    /// To the local port behind this interface.
    Deliver {
        /// Host-side interface.
        ifindex: u32,
    },
    /// Into a tunnel, to the next hop of the row in the scratch space.
    Encap {
        /// Outer UDP source port, network byte order.
        source_port: u16,
    },
    /// Back to the workload behind this interface, as an answer.
    Reply {
        /// Host-side interface.
        ifindex: u32,
    },
    /// To the host's own stack, untouched.
    Host,
    /// To the kernel's vxlan device, which decapsulates it; `from_overlay` judges it again.
    OverlayDevice,
}

/// Changes of the header, as data. `apply_edit` carries them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// None.
    None,
    /// Write the destination Ethernet address.
    Destination(Mac),
    /// Turn the ARP request into its answer: this address has the target protocol address.
    ArpReply(Mac),
    /// Turn the neighbour solicitation into its advertisement: this address has the target address.
    NeighborAdvertisement {
        /// The answer.
        mac: Mac,
        /// The target is a router.
        router: bool,
    },
}

/// What the verdict asks of the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim<F> {
    /// Nothing.
    None,
    /// Write state and time of a row.
    Touch {
        /// The row.
        flow: F,
        /// Its new state.
        state: u32,
    },
    /// Insert or overwrite a row: key and row are in the scratch space.
    Open,
    /// Mark a row as cut.
    Cut {
        /// The row.
        flow: F,
        /// Its state, without the mark.
        state: u32,
        /// The rule that denies it now.
        rule: RuleNumber,
    },
}

/// Why a packet does not pass, and who said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: DropReason,
    /// The stage that refused.
    pub stage: Stage,
    /// The rule that decided, or [`rule::NONE`].
    pub rule: RuleNumber,
}

impl Refusal {
    /// A refusal in which no rule was involved.
    #[inline(always)]
    pub const fn new(stage: Stage, reason: DropReason) -> Self {
        Self { reason, stage, rule: rule::NONE }
    }
}

/// What was decided about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<F> {
    /// Where it goes.
    pub target: Target,
    /// How its header changes.
    pub edit: Edit,
    /// What is asked of the flow table. It can fail after the decision: then the packet is dropped.
    pub claim: Claim<F>,
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
}

impl<F> Verdict<F> {
    /// Nothing was decided yet: without a decision, a packet is dropped.
    pub const UNDECIDED: Self = Self {
        target: Target::Drop,
        edit: Edit::None,
        claim: Claim::None,
        reason: None,
        rule: rule::NONE,
        stage: Stage::Parse,
        port: 0,
        network: 0,
    };

    /// Lets the packet pass.
    #[inline(always)]
    pub(crate) const fn pass(&mut self, stage: Stage, target: Target, edit: Edit, rule: RuleNumber) {
        (self.target, self.edit, self.stage, self.rule) = (target, edit, stage, rule);
    }

    /// Drops the packet. What was asked of the flow table stays: a cut is carried out although its packet is dropped.
    #[inline(always)]
    pub(crate) const fn refuse(&mut self, refusal: Refusal) {
        self.target = Target::Drop;
        (self.reason, self.stage, self.rule) = (Some(refusal.reason), refusal.stage, refusal.rule);
    }

    /// The verdict as a record of fixed layout.
    #[inline(always)]
    pub fn record(&self, hook: u8, scratch: &Scratch) -> VerdictRecord {
        let (edit, mac) = match &self.edit {
            Edit::None => (0, [0; 6]),
            Edit::Destination(mac) => (1, *mac),
            Edit::ArpReply(mac) => (2, *mac),
            Edit::NeighborAdvertisement { mac, router } => (3 | (*router as u16) << 8, *mac),
        };
        let mut record = VerdictRecord {
            hook,
            target: target::DROP,
            stage: self.stage as u8,
            claim: match self.claim {
                Claim::None => 0,
                Claim::Touch { .. } => 1,
                Claim::Open => 2,
                Claim::Cut { .. } => 3,
            },
            reason: self.reason.map_or(0, |reason| reason as u16),
            edit,
            rule: self.rule,
            port: self.port,
            network: self.network,
            ifindex: 0,
            mac,
            outer_port: 0,
            next_hop: NextHop::NONE,
        };
        match &self.target {
            Target::Drop => {}
            Target::Deliver { ifindex } => (record.target, record.ifindex) = (target::DELIVER, *ifindex),
            Target::Encap { source_port } => {
                (record.target, record.next_hop, record.outer_port) =
                    (target::ENCAP, scratch.row.next_hop, *source_port);
            }
            Target::Reply { ifindex } => (record.target, record.ifindex) = (target::REPLY, *ifindex),
            Target::Host => record.target = target::HOST,
            Target::OverlayDevice => record.target = target::OVERLAY_DEVICE,
        }
        record
    }
}
