//! What the parts of the agent share: what the host was told, what is attached, how far it is.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use andromede_proto::{agent::v1::Claim, v1::Unsupported};
use tokio::sync::{Notify, watch};

use crate::{
    claims::Refusals,
    config::Config,
    pods::lease::Leases,
    state::{
        attachments::{Attached, AttachmentFile},
        disk::DiskError,
        held::Held,
        leases::LeaseFile,
        store::Store,
    },
    views,
};

/// How far the host is, after a pass of the reconciler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Revision that the tables agree with.
    pub applied_revision: u64,
    /// What could not be done; empty if all went well.
    pub error: String,
    /// What the controller refused of the ports that this host made: the host goes on, and other hosts do not know them. Or empty.
    pub refused: String,
    /// What the host was told and this agent does not know; `error` tells of it in words.
    pub unsupported: Vec<Unsupported>,
    /// Ports placed on this host.
    pub ports: u32,
    /// Those of them whose workload is attached.
    pub ports_attached: u32,
    /// How programs are attached: "tcx" or "clsact"; empty before they are.
    pub attachment: String,
}

impl Progress {
    /// All that is wrong, in words; empty if nothing is.
    pub fn trouble(&self) -> String {
        let parts = [self.error.as_str(), self.refused.as_str()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

/// Whether the controller is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Is the session open?
    pub connected: bool,
    /// Why it is not.
    pub error: String,
}

/// Ports placed on this host, and their addresses.
pub type Placed = BTreeMap<String, Vec<IpAddr>>;

/// Shared by all tasks of one agent.
#[derive(Debug)]
pub struct Shared {
    /// What the agent was started with.
    pub config: Config,
    store: Store,
    attachment_file: AttachmentFile,
    held: Mutex<Arc<Held>>,
    /// Held while the disk is written; readers do not wait for it.
    telling: Mutex<()>,
    attached: Mutex<Attached>,
    lease_file: LeaseFile,
    leases: Mutex<Leases>,
    /// The file of leases was lost, and it is not certain that every live pod has its lease again.
    leases_lost: AtomicBool,
    refusals: Mutex<Refusals>,
    claim: watch::Sender<Claim>,
    placed: Mutex<Arc<Placed>>,
    wake: Notify,
    network_changed: AtomicBool,
    progress: watch::Sender<Progress>,
    contact: watch::Sender<Contact>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section replaces one value whole: a panic in one leaves the old value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Reads the state folder.
    pub fn open(config: Config) -> Result<Self, DiskError> {
        let store = Store::open(&config.state)?;
        let mut loaded = store.load()?;
        for damaged in &loaded.damaged {
            tracing::error!(%damaged, "state file set aside");
        }
        for unreadable in views::set_unreadable_aside(&mut loaded.held) {
            tracing::error!(%unreadable, "stored network is asked anew; its rows stay until it was told");
        }
        if let Some(host) = loaded.held.host.as_ref().filter(|host| host.name != config.host.as_str()) {
            return Err(DiskError::OtherHost { folder: config.state.clone(), recorded: host.name.clone() });
        }
        let attachment_file = AttachmentFile::new(&config.state);
        let mut attached = match attachment_file.load() {
            Err(damaged @ DiskError::Damaged { .. }) => {
                tracing::error!(%damaged, "state file set aside; workloads are found again by their interfaces");
                Attached::new()
            }
            other => other?,
        };
        let lease_file = LeaseFile::new(&config.state);
        let (leases, leases_lost) = match lease_file.load() {
            Err(damaged @ DiskError::Damaged { .. }) => {
                tracing::error!(%damaged, "leases of addresses are found again by the list of workloads");
                let mut leases = Leases::default();
                attached.values().filter_map(|workload| workload.lease.clone()).for_each(|entry| leases.restore(entry));
                (leases, true)
            }
            other => (other?, false),
        };
        // What an older agent attached has its lease noted at the first change.
        for (port, workload) in &mut attached {
            workload.lease = workload.lease.take().or_else(|| leases.entry_of_port(port).cloned());
        }
        Ok(Self {
            config,
            store,
            attachment_file,
            telling: Mutex::default(),
            held: Mutex::new(Arc::new(loaded.held)),
            attached: Mutex::new(attached),
            lease_file,
            leases: Mutex::new(leases),
            leases_lost: AtomicBool::new(leases_lost),
            refusals: Mutex::default(),
            claim: watch::Sender::default(),
            placed: Mutex::default(),
            wake: Notify::new(),
            network_changed: AtomicBool::new(true),
            progress: watch::Sender::default(),
            contact: watch::Sender::default(),
        })
    }

    /// What the host was told.
    pub fn held(&self) -> Arc<Held> {
        Arc::clone(&lock(&self.held))
    }

    /// Changes what the host was told: first on disk, then in memory, then it is reconciled.
    pub fn tell<T, E: From<DiskError>>(&self, change: impl FnOnce(&mut Held, &Store) -> Result<T, E>) -> Result<T, E> {
        let _telling = lock(&self.telling);
        let mut next = Held::clone(&self.held());
        let told = change(&mut next, &self.store)?;
        *lock(&self.held) = Arc::new(next);
        self.wake();
        Ok(told)
    }

    /// The attached workloads.
    pub fn attached(&self) -> Attached {
        lock(&self.attached).clone()
    }

    /// Changes the list of attached workloads, in memory and on disk.
    pub fn change_attached(&self, change: impl FnOnce(&mut Attached)) -> Result<(), DiskError> {
        let mut attached = lock(&self.attached);
        let mut next = attached.clone();
        change(&mut next);
        if next != *attached {
            self.attachment_file.save(&next)?;
            *attached = next;
        }
        Ok(())
    }

    /// The leases of addresses.
    pub fn leases(&self) -> Leases {
        lock(&self.leases).clone()
    }

    /// Changes the leases: first on disk, then in memory.
    pub fn change_leases<T, E: From<DiskError>>(
        &self,
        change: impl FnOnce(&mut Leases) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut leases = lock(&self.leases);
        let mut next = leases.clone();
        let result = change(&mut next)?;
        self.lease_file.save(&next)?;
        *leases = next;
        Ok(result)
    }

    /// Is it uncertain whether every live pod has its lease?
    pub fn leases_are_lost(&self) -> bool {
        self.leases_lost.load(Ordering::Relaxed)
    }

    /// Every live pod has its lease: from now on what is not in the list is not there.
    pub fn keep_leases(&self) -> Result<(), DiskError> {
        self.change_leases(|_| Ok::<_, DiskError>(()))?;
        self.leases_lost.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// What the controller refused of the claims of this host.
    pub fn refusals(&self) -> Refusals {
        lock(&self.refusals).clone()
    }

    /// Changes what the controller refused; if that is a change, the reconciler is woken.
    pub fn change_refusals(&self, change: impl FnOnce(&mut Refusals)) {
        let mut refusals = lock(&self.refusals);
        let mut next = refusals.clone();
        change(&mut next);
        if next != *refusals {
            *refusals = next;
            self.wake();
        }
    }

    /// Ports that the controller has yet to hear of.
    pub fn claim(&self) -> watch::Receiver<Claim> {
        self.claim.subscribe()
    }

    /// Publishes what the controller has yet to hear of.
    pub fn set_claim(&self, claim: Claim) {
        self.claim.send_if_modified(|old| {
            let changed = *old != claim;
            *old = claim;
            changed
        });
    }

    /// Ports placed on this host, as the pass that runs or the last one found them. Nobody waits for a pass to read this.
    pub fn placed(&self) -> Arc<Placed> {
        Arc::clone(&lock(&self.placed))
    }

    /// Publishes which ports are placed on this host.
    pub fn set_placed(&self, placed: Placed) {
        *lock(&self.placed) = Arc::new(placed);
    }

    /// The kernel's interfaces or routes have changed, or may have: the reconciler looks at them anew.
    pub fn network_changed(&self) {
        self.look_again();
        self.wake();
    }

    /// The next pass, whenever it is, looks at interfaces and routes anew.
    pub fn look_again(&self) {
        self.network_changed.store(true, Ordering::Relaxed);
    }

    /// Have interfaces or routes changed since [`Shared::take_network_changed`]?
    pub fn network_has_changed(&self) -> bool {
        self.network_changed.load(Ordering::Relaxed)
    }

    /// Have interfaces or routes changed since this was last asked?
    pub fn take_network_changed(&self) -> bool {
        self.network_changed.swap(false, Ordering::Relaxed)
    }

    /// Wakes the reconciler.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until somebody calls [`Shared::wake`].
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// How far the host is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Publishes how far the host is.
    pub fn set_progress(&self, progress: Progress) {
        self.progress.send_if_modified(|old| {
            let changed = *old != progress;
            *old = progress;
            changed
        });
    }

    /// Whether the controller is there.
    pub fn contact(&self) -> Contact {
        self.contact.borrow().clone()
    }

    /// Publishes whether the controller is there.
    pub fn set_contact(&self, contact: Contact) {
        self.contact.send_replace(contact);
    }
}
