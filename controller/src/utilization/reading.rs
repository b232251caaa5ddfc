//! How full one subnet is.

use andromede_model::{HostName, Prefix, Rest, Subnet, SubnetName, Utilization};
use andromede_proto::v1;

/// From these shares on, in percent, a subnet is filling, and nearly full.
const FILLING: u32 = 80;
const NEARLY_FULL: u32 = 95;

/// How near to its end a subnet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// There is room.
    #[default]
    Roomy,
    /// 80 % is taken, or more.
    Filling,
    /// 95 % is taken, or more.
    NearlyFull,
    /// Nothing is free.
    Full,
}

impl Level {
    /// All of them, from room to none.
    pub const ALL: [Self; 4] = [Self::Roomy, Self::Filling, Self::NearlyFull, Self::Full];

    /// The level of a share, in percent.
    pub(super) const fn of(percent: u32) -> Self {
        match percent {
            100.. => Self::Full,
            NEARLY_FULL.. => Self::NearlyFull,
            FILLING.. => Self::Filling,
            _ => Self::Roomy,
        }
    }

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Roomy => "roomy",
            Self::Filling => "filling",
            Self::NearlyFull => "nearly-full",
            Self::Full => "full",
        }
    }
}

/// A subnet at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The subnet.
    pub subnet: SubnetName,
    /// Its prefix.
    pub cidr: Prefix,
    /// The host that it is leased to.
    pub host: Option<HostName>,
    /// Its addresses by use.
    pub found: Utilization,
    /// How many rest.
    pub rest: Rest,
    /// The share that is taken of what ports that choose none are given, in percent, rounded down.
    pub percent: u32,
    /// The level of that.
    pub level: Level,
    /// Seconds since 1970.
    pub at_seconds: i64,
    /// When it will be full, in seconds since 1970; none: that is not foreseen.
    pub full_seconds: Option<i64>,
}

impl Reading {
    /// Of a subnet, at a time in seconds since 1970.
    pub fn new(subnet: &Subnet, found: Utilization, rest: Rest, at_seconds: i64) -> Self {
        let taken = found.pool_used().saturating_add(rest.addresses.into());
        // A subnet of which everything is reserved was not filled by anybody.
        let percent = taken.saturating_mul(100).checked_div(found.pool()).unwrap_or_default();
        let percent = u32::try_from(percent).unwrap_or(100).min(100);
        Self {
            subnet: subnet.name.clone(),
            cidr: subnet.cidr,
            host: subnet.host.clone(),
            found,
            rest,
            percent,
            level: Level::of(percent),
            at_seconds,
            full_seconds: None,
        }
    }

    /// Addresses that are taken of those that ports that choose none are given.
    pub(super) fn taken(&self) -> u128 {
        self.found.pool_used().saturating_add(self.rest.addresses.into())
    }

    /// Addresses that can be given to ports that choose none.
    pub fn free(&self) -> u128 {
        self.found.pool().saturating_sub(self.taken())
    }
}

/// A number that a field of 64 bits holds; its greatest for those that it does not.
fn capped(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl From<&Reading> for v1::SubnetUtilization {
    fn from(reading: &Reading) -> Self {
        let next = i64::try_from(reading.rest.next_seconds).unwrap_or(i64::MAX);
        let level = match reading.level {
            Level::Roomy => v1::SubnetLevel::Roomy,
            Level::Filling => v1::SubnetLevel::Filling,
            Level::NearlyFull => v1::SubnetLevel::NearlyFull,
            Level::Full => v1::SubnetLevel::Full,
        };
        Self {
            subnet: reading.subnet.to_string(),
            cidr: reading.cidr.to_string(),
            host: reading.host.as_ref().map(ToString::to_string).unwrap_or_default(),
            addresses: capped(reading.found.addresses),
            usable: capped(reading.found.usable),
            used: capped(reading.found.used),
            reserved: capped(reading.found.reserved()),
            resting: reading.rest.addresses,
            free: capped(reading.free()),
            percent: reading.percent,
            level: level.into(),
            full_seconds: reading.full_seconds.unwrap_or_default(),
            next_free_seconds: if next > 0 { reading.at_seconds.saturating_add(next) } else { 0 },
        }
    }
}
