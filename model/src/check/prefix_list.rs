//! Prefix lists.

use std::collections::BTreeSet;

use crate::{
    draft::{Draft, Touched},
    limits,
    state::NetworkState,
};

/// Checks the prefix lists of a network that are written.
pub(super) fn check(draft: &mut Draft<'_>, state: &NetworkState, touched: &Touched) {
    for list in touched.prefix_lists.iter().filter_map(|name| state.prefix_lists.get(name)) {
        if list.prefixes.len() > limits::PREFIXES_PER_LIST {
            let rule = format!("a prefix list has at most {} prefixes", limits::PREFIXES_PER_LIST);
            draft.refuse(list.name.clone(), "prefixes", list.prefixes.len(), rule, "divide it into several lists");
        }
        let mut seen = BTreeSet::new();
        for (place, prefix) in list.prefixes.iter().enumerate() {
            if !seen.insert(prefix) {
                let rule = "a prefix stands in a list once";
                draft.refuse(list.name.clone(), &format!("prefixes[{place}]"), prefix, rule, "remove it");
            }
        }
    }
}
