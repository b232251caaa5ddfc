//! Buckets of rates: words of usage that several processors change.

use andromede_abi::Usage;

use crate::tables::UsageRef;

/// Attempts to change a bucket that other processors change too.
const ATTEMPTS: u32 = 8;

/// Takes `cost` nanoseconds of a rate out of a bucket that holds `burst`. The last frame may overdraw it: so one that is larger than the
/// bucket passes too, and what follows waits for longer.
///
/// A bucket is one word, the time at which all that was taken will have been earned (a generic cell rate algorithm).
#[inline(always)]
pub(crate) fn draw<U: UsageRef>(usage: &U, bucket: Usage, cost: u64, burst: u64, now: u64) -> bool {
    let mut attempt = 0_u32;
    while attempt < ATTEMPTS {
        let earned = usage.get(bucket);
        if earned > now.wrapping_add(burst) {
            return false;
        }
        let from = if earned > now { earned } else { now };
        if usage.replace(bucket, earned, from.wrapping_add(cost)) {
            return true;
        }
        attempt = attempt.wrapping_add(1);
    }
    // Others took theirs at each attempt, who were asked: this one is not refused for being unlucky, and is counted.
    usage.add(bucket, cost.cast_signed());
    true
}
