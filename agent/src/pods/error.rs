//! Why a command of the CNI plugin was not carried out, and its code in the specification.

use andromede_model::NameError;
use andromede_proto::local::v1::CniError;

use crate::{
    host::{netlink::NetlinkError, netns::NetnsError, veth::VethError},
    state::disk::DiskError,
    workloads::WorkloadError,
};

/// Codes of the specification (1.1.0, section 5, "Error").
mod code {
    pub(super) const INVALID_ENVIRONMENT: u32 = 4;
    pub(super) const INVALID_CONFIGURATION: u32 = 7;
    pub(super) const TRY_AGAIN: u32 = 11;
    pub(super) const NOT_AVAILABLE: u32 = 50;
    pub(super) const LIMITED: u32 = 51;
    /// From here on our own: docs/kubernetes.md lists them.
    pub(super) const EXHAUSTED: u32 = 101;
    pub(super) const IN_USE: u32 = 102;
    pub(super) const EXISTS: u32 = 103;
    pub(super) const NOT_AS_MADE: u32 = 104;
    pub(super) const HOST: u32 = 110;
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// A name that is none.
    #[error("{value:?}: {rule}; {fix}")]
    Name {
        /// What was given.
        value: String,
        /// The rule that it breaks.
        rule: String,
        /// What to do.
        fix: String,
    },
    /// A field of the request that is missing or malformed.
    #[error("{field}: {why}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The network is not on this host.
    #[error("{network}: no subnet of it is leased to {host}; set `host: {host}` in a subnet of the network")]
    NoSubnet {
        /// The network.
        network: String,
        /// This host.
        host: String,
    },
    /// A group that the network does not have.
    #[error("{network} has no security group {group:?}; it has {there}")]
    NoGroup {
        /// The network.
        network: String,
        /// The group.
        group: String,
        /// Those that it has.
        there: String,
    },
    /// No address is free.
    #[error(
        "{network}: no address is free in {why}; addresses rest for a while after their pod is gone, and until the controller knows: \
         lease another subnet to this host, or try again"
    )]
    Exhausted {
        /// The network.
        network: String,
        /// What is full.
        why: String,
    },
    /// An address that cannot be had.
    #[error("address {address}: {why}; choose another, or none")]
    Address {
        /// The address.
        address: String,
        /// Why not.
        why: String,
    },
    /// An Ethernet address that cannot be had.
    #[error("Ethernet address {mac}: {why}; choose another, or none")]
    Mac {
        /// The address.
        mac: String,
        /// Why not.
        why: String,
    },
    /// The container has the interface.
    #[error(
        "container {container} has interface {interface} in {configuration} already; delete it before it is added again"
    )]
    Exists {
        /// The container.
        container: String,
        /// The interface.
        interface: String,
        /// The network configuration.
        configuration: String,
    },
    /// Something is not as it was made.
    #[error("{0}")]
    NotAsMade(String),
    /// The host is not as it should be.
    #[error("the host is not as it should be: {0}")]
    Limited(String),
    /// The container was deleted while it was added.
    #[error("the container was deleted while its addition waited for the policies of its cluster")]
    Deleted,
    /// The agent is ending.
    #[error("the agent is ending; ask again")]
    Ending,
    /// The interface could not be made or removed.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The inside could not be looked at.
    #[error(transparent)]
    Veth(#[from] VethError),
    /// The kernel.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The state folder.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl PodError {
    /// A name that breaks a rule.
    pub(super) fn name(error: NameError) -> Self {
        let violation = error.violation("");
        Self::Name { value: violation.value, rule: violation.rule, fix: violation.fix }
    }

    fn code(&self) -> (u32, &'static str) {
        match self {
            Self::Name { .. } | Self::Field { .. } | Self::NoGroup { .. } => {
                (code::INVALID_CONFIGURATION, "the configuration cannot be served")
            }
            Self::NoSubnet { .. } => (code::NOT_AVAILABLE, "the network is not on this host"),
            Self::Exhausted { .. } => (code::EXHAUSTED, "no address is free"),
            Self::Address { .. }
            | Self::Mac { .. }
            | Self::Workload(WorkloadError::Veth(VethError::LedElsewhere { .. })) => {
                (code::IN_USE, "an address cannot be had")
            }
            Self::Exists { .. } | Self::Workload(WorkloadError::Veth(VethError::Taken { .. })) => {
                (code::EXISTS, "the interface exists")
            }
            Self::NotAsMade(_) => (code::NOT_AS_MADE, "the interface is not as it was made"),
            Self::Limited(_) => (code::LIMITED, "the packet path is not as it should be"),
            Self::Workload(WorkloadError::NotReady { .. }) | Self::Ending => (code::TRY_AGAIN, "the host is not ready"),
            Self::Deleted => (code::TRY_AGAIN, "the container was deleted meanwhile"),
            Self::Netns(_) | Self::Workload(WorkloadError::Netns(_) | WorkloadError::BadInterface(_)) => {
                (code::INVALID_ENVIRONMENT, "the environment cannot be used")
            }
            Self::Workload(_) | Self::Veth(_) | Self::Netlink(_) | Self::Disk(_) => (code::HOST, "the host refused"),
        }
    }

    /// As the plugin passes it on.
    pub(crate) fn to_cni(&self) -> CniError {
        let (code, message) = self.code();
        CniError { code, message: message.to_owned(), details: self.to_string() }
    }

    /// The same for STATUS, which knows two codes: nothing can be added, or that and what there is may suffer.
    pub(crate) fn to_status(&self) -> CniError {
        let error = self.to_cni();
        let code = if matches!(self, Self::Limited(_)) { code::LIMITED } else { code::NOT_AVAILABLE };
        CniError { code, ..error }
    }
}
