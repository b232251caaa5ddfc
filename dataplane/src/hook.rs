//! Where on a device a program sits.

use std::{fmt, str::FromStr};

use andromede_abi::{hook, maps::program};

/// A place at which the packet path meets packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// Ingress of the host side of a workload's interface.
    FromWorkload,
    /// Egress of the host side of a workload's interface: what the node itself sends.
    FromHost,
    /// Ingress of the underlay interface.
    FromUnderlay,
    /// Ingress of the external vxlan device.
    FromOverlay,
}

/// The side of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::FromWorkload, Self::FromHost, Self::FromUnderlay, Self::FromOverlay];

    /// Name of the program that sits there.
    pub const fn program(self) -> &'static str {
        match self {
            Self::FromWorkload => program::FROM_WORKLOAD,
            Self::FromHost => program::FROM_HOST,
            Self::FromUnderlay => program::FROM_UNDERLAY,
            Self::FromOverlay => program::FROM_OVERLAY,
        }
    }

    /// Its number in verdicts and events.
    pub const fn number(self) -> u8 {
        match self {
            Self::FromWorkload => hook::FROM_WORKLOAD,
            Self::FromHost => hook::FROM_HOST,
            Self::FromUnderlay => hook::FROM_UNDERLAY,
            Self::FromOverlay => hook::FROM_OVERLAY,
        }
    }

    pub(crate) const fn direction(self) -> Direction {
        match self {
            Self::FromHost => Direction::Egress,
            Self::FromWorkload | Self::FromUnderlay | Self::FromOverlay => Direction::Ingress,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

/// No hook has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no hook; the hooks are from_workload, from_host, from_underlay and from_overlay")]
pub struct UnknownHook(pub String);

impl FromStr for Hook {
    type Err = UnknownHook;

    fn from_str(name: &str) -> Result<Self, UnknownHook> {
        Self::ALL.into_iter().find(|hook| hook.program() == name).ok_or_else(|| UnknownHook(name.to_owned()))
    }
}
