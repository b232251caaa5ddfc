//! One agent, from start to stop. A stop leaves everything running: tables and programs are pinned.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use andromede_dataplane::{AttachMode, InstanceName, Kernel, Pins, Sizes, mount_bpffs};
use anyhow::{Context as _, bail};
use sd_notify::NotifyState;
use tokio::{sync::Mutex, task::JoinSet};

use crate::{
    config::Config,
    diagnostics::{self, Diagnostics},
    host::{monitor, netlink::Netlink},
    local::{self, Local, Socket},
    meter::Meters,
    pods::Pods,
    programs::Settings,
    reconcile::{self, Reconciler},
    session,
    shared::Shared,
    state::{disk, identity, lock::StateLock},
    workloads::Workloads,
};

/// How long closing the session may take.
const FAREWELL: Duration = Duration::from_millis(50);

/// Where and how the packet path is pinned and attached.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name.
    pub name: InstanceName,
    /// The bpf file system.
    pub bpffs: PathBuf,
    /// How programs are attached.
    pub mode: AttachMode,
    /// Sizes of the tables.
    pub sizes: Sizes,
}

/// Runs until `stop`.
pub async fn run(config: Config, instance: Instance, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let kernel = Kernel::probe();
    let missing = kernel.missing();
    if !missing.is_empty() {
        bail!("this host cannot run the packet path: {}", missing.join(" "));
    }
    disk::make_private_folder(&config.state)?;
    let _lock = StateLock::take(&config.state)?;
    let pins = Pins::new(&instance.bpffs, &instance.name);
    mount_bpffs(&instance.bpffs)
        .with_context(|| format!("cannot mount a bpf file system at {}", instance.bpffs.display()))?;
    identity::claim(&config.state, &pins, &instance.name, &config.underlay)?;
    let mode = if instance.mode == AttachMode::Auto && !kernel.tcx { AttachMode::Clsact } else { instance.mode };
    let settings = Settings { pins, sizes: instance.sizes, mode, features: kernel.features() };

    let socket = Socket::bind(&config.socket)
        .with_context(|| format!("cannot make the local socket {}", config.socket.display()))?;
    let shared = Arc::new(Shared::open(config)?);
    let meters = Meters::open(&shared.config.state)?;
    let diagnostics = Arc::new(Diagnostics::new(shared.config.host.as_str(), meters));
    let open = || Netlink::open().context("cannot open a netlink socket");
    let reconciler = Reconciler::new(Arc::clone(&shared), Arc::clone(&diagnostics), settings, open()?);
    let reconciler = Arc::new(Mutex::new(reconciler));
    let workloads = Arc::new(Workloads::new(Arc::clone(&shared), Arc::clone(&reconciler), open()?));
    let pods = Arc::new(Pods::new(Arc::clone(&shared), Arc::clone(&reconciler), Arc::clone(&workloads)));
    let service = Local::new(Arc::clone(&shared), workloads, Arc::clone(&diagnostics));

    let changed = {
        let shared = Arc::clone(&shared);
        move || shared.network_changed()
    };
    tracing::info!(host = %shared.config.host, instance = %instance.name, kernel = kernel.release, "agent started");
    // The socket is there, and calls wait in it. That nobody waits for it is no reason not to.
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        tracing::warn!(%error, "the service manager was not told that the agent is ready");
    }
    let mut parts = JoinSet::new();
    parts.spawn(session::keep(Arc::clone(&shared), Arc::clone(&diagnostics)));
    parts.spawn(reconcile::run(shared, reconciler));
    parts.spawn(diagnostics::sweep(Arc::clone(&diagnostics)));
    parts.spawn(diagnostics::meter(diagnostics));
    tokio::select! {
        Some(ended) = parts.join_next() => ended.context("a part of the agent ended")?,
        () = monitor::watch(changed) => {}
        ended = local::serve(socket, service, pods, std::future::pending()) => ended.context("local socket ended")?,
        () = stop => tracing::info!("agent stopped; the packet path stays in place"),
    }
    // Each part ends where it waits: none goes on, nor waits for a timer, while the runtime is taken down.
    parts.shutdown().await;
    // The controller hears of the end at once instead of missing a sign of life.
    tokio::time::sleep(FAREWELL).await;
    Ok(())
}
