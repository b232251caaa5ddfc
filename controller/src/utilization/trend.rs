//! How a subnet fills.

use std::collections::VecDeque;

use super::{Level, Reading};

/// How far back it is remembered, in seconds.
const SPAN: i64 = 3_600;
/// Time between two moments that are remembered, in seconds.
const STEP: i64 = 60;
/// What lies further ahead than this, in seconds, is not foreseen: 30 days.
pub const AHEAD: i64 = 30 * 24 * 3_600;
/// By how many percent a subnet must have got room before it is called fuller anew: otherwise a port that comes and goes at a threshold
/// would fill the log.
const SLACK: u32 = 5;

/// What is remembered of a subnet.
#[derive(Clone, Debug, Default)]
pub struct Trend {
    /// Seconds since 1970, and how many addresses were taken; the oldest first.
    moments: VecDeque<(i64, u128)>,
    /// What was told last.
    level: Level,
}

impl Trend {
    /// What was told last.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Remembers a moment, and tells the log if the subnet got to another level by it.
    pub fn add(&mut self, reading: &Reading) {
        let now = reading.at_seconds;
        // A clock that was set back begins anew.
        self.moments.retain(|(at, _)| (now.saturating_sub(SPAN)..=now).contains(at));
        if self.moments.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= STEP) {
            self.moments.push_back((now, reading.taken()));
        }
        let lower = Level::of(reading.percent.saturating_add(SLACK));
        if reading.level > self.level {
            self.level = reading.level;
            let Reading { subnet, cidr, host, percent, level, .. } = reading;
            let host = host.as_ref().map(ToString::to_string).unwrap_or_default();
            let (free, resting, level) = (reading.free(), reading.rest.addresses, level.name());
            let full_in_seconds = self.full_seconds(reading).map(|at| at.saturating_sub(now));
            tracing::warn!(%subnet, %cidr, host, percent, free, resting, level, full_in_seconds, "subnet runs out of addresses");
        } else if lower < self.level {
            self.level = reading.level;
            tracing::info!(subnet = %reading.subnet, percent = reading.percent, "subnet has room again");
        }
    }

    /// When the subnet will be full if it fills on as it did, in seconds since 1970; none: it does not fill, or slowly.
    pub fn full_seconds(&self, reading: &Reading) -> Option<i64> {
        let (since, before) = *self.moments.front()?;
        let passed = reading.at_seconds.checked_sub(since).filter(|passed| *passed >= STEP)?;
        let grown = reading.taken().checked_sub(before).filter(|grown| *grown > 0)?;
        let left = reading.free().checked_mul(u128::try_from(passed).ok()?)?.checked_div(grown)?;
        let left = i64::try_from(left).ok().filter(|left| *left <= AHEAD)?;
        reading.at_seconds.checked_add(left)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use andromede_model::{Rest, Subnet, Utilization};

    use super::*;

    fn reading(used: u128, at_seconds: i64) -> Reading {
        let name = "tenants/t/networks/n/subnets/s".parse().unwrap();
        let subnet = Subnet::new(name, "10.0.0.0/24".parse().unwrap());
        let found = Utilization { addresses: 256, usable: 253, used, ..Utilization::default() };
        Reading::new(&subnet, found, Rest::default(), at_seconds)
    }

    #[test]
    fn it_is_foreseen_when_a_subnet_that_fills_evenly_is_full() {
        let mut trend = Trend::default();
        for minute in 0..=20 {
            trend.add(&reading(130 + 2 * minute, 1_000 + 60 * i64::try_from(minute).unwrap()));
        }
        // 170 of 253 after 20 minutes; 83 more at two a minute.
        assert_eq!(trend.full_seconds(&reading(170, 2_200)), Some(2_200 + 83 * 30));
        assert_eq!(trend.full_seconds(&reading(130, 2_200)), None, "nothing was added since");
        assert_eq!(trend.full_seconds(&reading(120, 2_200)), None, "it empties");
        assert_eq!(Trend::default().full_seconds(&reading(170, 2_200)), None);
        // Once it is full it is full now.
        assert_eq!(trend.full_seconds(&reading(253, 2_300)), Some(2_300));
    }

    #[test]
    fn only_the_last_hour_counts() {
        let mut trend = Trend::default();
        trend.add(&reading(0, 0));
        for minute in 1..200 {
            trend.add(&reading(200, 60 * minute));
            assert!(trend.moments.len() <= 62);
        }
        assert_eq!(trend.full_seconds(&reading(200, 60 * 200)), None, "the jump was long ago");
        trend.add(&reading(200, 10));
        assert_eq!(trend.moments.len(), 1, "the clock was set back");
    }

    #[test]
    fn a_level_is_left_only_with_some_room() {
        let mut trend = Trend::default();
        let mut level_at = |used: u128| {
            trend.add(&reading(used, 0));
            trend.level()
        };
        assert_eq!(level_at(150), Level::Roomy);
        assert_eq!(level_at(203), Level::Filling, "80.2 %");
        assert_eq!(level_at(201), Level::Filling, "79.4 %");
        assert_eq!(level_at(189), Level::Roomy, "74.7 %");
        assert_eq!(level_at(241), Level::NearlyFull, "95.2 %");
        assert_eq!(level_at(253), Level::Full);
        assert_eq!(level_at(252), Level::Full, "99.6 %");
        assert_eq!(level_at(230), Level::Filling, "90.9 %, with which it is nearly full no more");
    }
}
