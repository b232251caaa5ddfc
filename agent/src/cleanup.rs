//! Removes every trace of an instance: programs, pins, interfaces, state. To be run in the agent's network namespace.

use std::{io, path::Path};

use andromede_dataplane::{InstanceName, Pins};
use anyhow::Context as _;

use crate::{
    host::{interface_name, netlink::Netlink},
    state::lock::StateLock,
};

/// Removes what the instance made. Interfaces go first: once they are gone nothing can pass, with or without programs.
pub async fn cleanup(instance: &InstanceName, bpffs: &Path, state: &Path) -> anyhow::Result<()> {
    let lock = if state.exists() { Some(StateLock::take(state)?) } else { None };
    let netlink = Netlink::open().context("cannot open a netlink socket")?;
    for link in netlink.links().await? {
        let workload =
            interface_name::port_of_alias(&link.alias).is_some_and(|port| link.name == interface_name::host_side(port));
        let overlay = link.name == interface_name::OVERLAY && link.external;
        if workload || overlay {
            netlink.delete_link(link.index).await?;
        }
    }
    let pins = Pins::new(bpffs, instance);
    if pins.folder().exists() {
        pins.tear_down()?;
    }
    if lock.is_some() {
        remove_state(state).with_context(|| format!("cannot remove {}", state.display()))?;
    }
    Ok(())
}

/// Removes the files that the agent made, and the folder if nothing else is in it.
fn remove_state(state: &Path) -> io::Result<()> {
    let ignore_absent = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    ignore_absent(std::fs::remove_dir_all(state.join("networks")))?;
    for file in ["meta", "attachments", "leases", "usage", "identity", "certificate", "lock"] {
        for suffix in ["", ".new", ".damaged"] {
            ignore_absent(std::fs::remove_file(state.join(format!("{file}{suffix}"))))?;
        }
    }
    match std::fs::remove_dir(state) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => ignore_absent(other),
    }
}
