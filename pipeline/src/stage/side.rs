//! The two sides of a connection, and what each is asked.

use andromede_abi::{DropReason, RuleNumber, Stage, flow_flag, port_flag, rule, rule_direction};

/// The end of a connection, by who opened it. The initiator's egress rules and the answerer's ingress rules are asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Initiator,
    Answerer,
}

impl Side {
    #[inline(always)]
    pub(crate) const fn stage(self) -> Stage {
        match self {
            Self::Initiator => Stage::Egress,
            Self::Answerer => Stage::Ingress,
        }
    }

    #[inline(always)]
    pub(crate) const fn reason(self) -> DropReason {
        match self {
            Self::Initiator => DropReason::EgressRule,
            Self::Answerer => DropReason::IngressRule,
        }
    }

    /// The number of what holds if no rule matches.
    #[inline(always)]
    pub(crate) const fn default_rule(self) -> RuleNumber {
        match self {
            Self::Initiator => rule::DEFAULT_EGRESS,
            Self::Answerer => rule::DEFAULT_INGRESS,
        }
    }

    /// The flag of a port that says what holds if no rule matches.
    #[inline(always)]
    pub(crate) const fn default_flag(self) -> u16 {
        match self {
            Self::Initiator => port_flag::EGRESS_DEFAULT_ALLOW,
            Self::Answerer => port_flag::INGRESS_DEFAULT_ALLOW,
        }
    }

    /// The direction of the rules that are asked at this side.
    #[inline(always)]
    pub(crate) const fn rule_direction(self) -> u8 {
        match self {
            Self::Initiator => rule_direction::EGRESS,
            Self::Answerer => rule_direction::INGRESS,
        }
    }

    /// The flag of a connection that its rule of this side keeps.
    #[inline(always)]
    pub(crate) const fn keeps_flag(self) -> u16 {
        match self {
            Self::Initiator => flow_flag::EGRESS_KEEPS,
            Self::Answerer => flow_flag::INGRESS_KEEPS,
        }
    }
}
