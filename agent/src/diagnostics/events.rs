//! Reads ring buffers of the packet path as events come.

use std::sync::Weak;

use andromede_abi::Pod;
use andromede_dataplane::Events;
use tokio::io::unix::AsyncFd;

use super::{Diagnostics, monotonic};

/// Reads until the agent stops. `remember` is told each event, and the time of the packet path's clock when it was read.
#[allow(
    deprecated,
    reason = "the safe constructor: `Events` keeps one descriptor for its whole life, so it is sound here"
)]
pub(super) async fn read<E: Pod>(
    events: Events<E>,
    diagnostics: Weak<Diagnostics>,
    remember: fn(&Diagnostics, &E, u64),
) {
    let mut events = match AsyncFd::new(events) {
        Ok(events) => events,
        Err(error) => {
            tracing::error!(%error, "events cannot be read; what they tell is only counted");
            return;
        }
    };
    while let Ok(mut ready) = events.readable_mut().await {
        ready.clear_ready();
        let Some(diagnostics) = diagnostics.upgrade() else { return };
        let now = monotonic().unwrap_or(0);
        while let Some(event) = ready.get_inner_mut().next() {
            remember(&diagnostics, &event, now);
        }
    }
}
