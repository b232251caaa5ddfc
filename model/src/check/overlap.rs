//! Prefixes that overlap.

use crate::Prefix;

/// Each prefix that another covers, with the widest that does; both with what stands beside them.
pub(super) fn covered<T: Ord + Copy>(mut prefixes: Vec<(Prefix, T)>) -> Vec<((Prefix, T), (Prefix, T))> {
    // In this order a prefix stands right before those that it covers.
    prefixes.sort_unstable();
    let mut widest: Option<(Prefix, T)> = None;
    let mut found = Vec::new();
    for one in prefixes {
        match widest {
            Some(wide) if wide.0.covers(one.0) => found.push((one, wide)),
            _ => widest = Some(one),
        }
    }
    found
}
