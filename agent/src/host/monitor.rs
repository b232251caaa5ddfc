//! Wakes the agent when the kernel's links, routes, addresses or filters change.

use std::{io, time::Duration};

use futures::StreamExt as _;
use rtnetlink::MulticastGroup;
use tokio::time::sleep;

/// Changes within this time are answered together.
const QUIET: Duration = Duration::from_millis(100);

/// Pause after a call: a workload that takes its link up and down all the time costs the host one look a second, no more.
const PACE: Duration = Duration::from_secs(1);
/// Pause before a broken socket is opened anew.
const PAUSE: Duration = Duration::from_secs(1);

/// Calls `changed` soon after something changed, for ever. Where the socket lost messages it is opened anew, and `changed` is called
/// once more than it had to.
pub async fn watch(changed: impl Fn()) {
    loop {
        if let Err(error) = watch_once(&changed).await {
            tracing::warn!(%error, "the kernel's network cannot be watched; trying again");
        }
        sleep(PAUSE).await;
        changed();
    }
}

async fn watch_once(changed: &impl Fn()) -> io::Result<()> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Tc,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
    ];
    let (connection, _handle, mut messages) = rtnetlink::new_multicast_connection(&groups)?;
    let connection = tokio::spawn(connection);
    while messages.next().await.is_some() {
        sleep(QUIET).await;
        while messages.try_recv().is_ok() {}
        changed();
        sleep(PACE).await;
    }
    connection.abort();
    Ok(())
}
