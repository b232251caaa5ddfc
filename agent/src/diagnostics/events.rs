//! Reads the ring buffer of drop events as they come.

use std::sync::Weak;

use andromede_dataplane::DropEvents;
use tokio::io::unix::AsyncFd;

use super::{Diagnostics, monotonic};

/// Reads until the agent stops.
#[allow(
    deprecated,
    reason = "the safe constructor: `DropEvents` keeps one descriptor for its whole life, so it is sound here"
)]
pub(super) async fn read(events: DropEvents, diagnostics: Weak<Diagnostics>) {
    let mut events = match AsyncFd::new(events) {
        Ok(events) => events,
        Err(error) => {
            tracing::error!(%error, "drop events cannot be read; drops are only counted");
            return;
        }
    };
    while let Ok(mut ready) = events.readable_mut().await {
        ready.clear_ready();
        let Some(diagnostics) = diagnostics.upgrade() else { return };
        let now = monotonic().unwrap_or(0);
        while let Some(event) = ready.get_inner_mut().next() {
            diagnostics.remember(&event, now);
        }
    }
}
