//! Wanted rows minus found rows, and programs where they belong.
//!
//! A pass takes no input: a signal or a timer wakes it, and it compares what should be with what is. Nothing is ever flushed: a start
//! of the agent is a pass like any other.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use andromede_abi::{HostConfig, maps};
use andromede_dataplane::{AttachError, Hook, LoadError, TableError};
use andromede_plan::{HostFacts, Memory, Refused, Step, Wanted, changes, compile_with};
use tokio::sync::Mutex;

use crate::{
    diagnostics::Diagnostics,
    error::causes,
    facts::{host_config, places, plan_attachments, underlay_address},
    host::{
        netlink::{Netlink, NetlinkError},
        node,
        removal::Removal,
        underlay::{Underlay, UnderlayError},
        veth::Workload,
    },
    keep::keep,
    programs::{Programs, Settings, VerifyError},
    shared::{Progress, Shared},
    state::{attachments::Attached, disk::DiskError, held::Held, store::host_of},
    views::{ViewError, Views},
};

mod health;
mod interfaces;

/// How often programs are looked after.
const HEALTH: Duration = Duration::from_secs(2);
/// Every how many of these times everything is compared.
const FULL_EVERY: u32 = 5;
/// Most programs that are given their lasting form in one of these times: the kernel waits for each.
const SETTLED_AT_ONCE: usize = 8;

/// Why the host is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The first session was not yet.
    #[error("this host does not know its number yet: it is told by the controller")]
    NotTold,
    /// The host's address is not one.
    #[error(
        "the controller says that this host's tunnel address is {0:?}, which is no IPv4 address; correct the host's underlay_address"
    )]
    BadAddress(String),
    /// The underlay.
    #[error(transparent)]
    Underlay(#[from] UnderlayError),
    /// The kernel's network.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The programs.
    #[error("{}", causes(.0))]
    Load(#[from] LoadError),
    /// Networks that have more rows than a table holds.
    #[error("{}; the rows of these networks stay as they are, the others go on", in_words(.0))]
    TooLarge(Vec<Refused>),
    /// A table.
    #[error("{}", causes(.0))]
    Table(#[from] TableError),
    /// A program's place.
    #[error("{}", causes(.0))]
    Attach(#[from] AttachError),
    /// A view.
    #[error(transparent)]
    View(#[from] ViewError),
    /// Networks that are not known at present.
    #[error("what was stored of {} cannot be read; the controller is asked anew, and the rows stay until it answers", .0.join(", "))]
    Unreadable(Vec<String>),
    /// The list of leases was lost, and live pods have none.
    #[error(
        "the list of leases was lost, and so was what these pods may do: {}; the packet path stays as it is, and nothing is unplugged: delete \
         these pods, or their interfaces with `ip link delete`", .0.join(", ")
    )]
    LeasesLost(Vec<String>),
    /// The state folder.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

fn in_words(refused: &[Refused]) -> String {
    let one = |refused: &Refused| format!("network {}: {}", refused.network, refused.error);
    refused.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// What the kernel said when it was last asked.
#[derive(Debug)]
struct Observed {
    underlay: Underlay,
    gateways: BTreeMap<Ipv4Addr, Ipv4Addr>,
    endpoints: BTreeSet<Ipv4Addr>,
    /// Address of this host's tunnel endpoint.
    own: Ipv4Addr,
    /// All addresses of the node.
    addresses: BTreeSet<IpAddr>,
}

/// Compares and corrects.
#[derive(Debug)]
pub struct Reconciler {
    shared: Arc<Shared>,
    diagnostics: Arc<Diagnostics>,
    settings: Settings,
    netlink: Netlink,
    views: Views,
    programs: Option<Programs>,
    observed: Option<Observed>,
    /// Rules as they were last compiled.
    memory: Memory,
    /// Interfaces whose rows go first, and then they with all that is at them.
    leaving: BTreeSet<u32>,
    /// Interfaces that are gone, and that the kernel has not freed yet.
    freeing: BTreeMap<u32, Removal>,
    /// Were interfaces of an earlier process looked for?
    adopted: bool,
    /// What interfaces should have become and could not, by port: it is tried again only when that changes.
    refused: BTreeMap<String, Workload>,
}

impl Reconciler {
    /// Nothing is touched yet.
    pub fn new(shared: Arc<Shared>, diagnostics: Arc<Diagnostics>, settings: Settings, netlink: Netlink) -> Self {
        Self {
            shared,
            diagnostics,
            settings,
            netlink,
            views: Views::default(),
            programs: None,
            observed: None,
            memory: Memory::default(),
            leaving: BTreeSet::new(),
            freeing: BTreeMap::new(),
            adopted: false,
            refused: BTreeMap::new(),
        }
    }

    /// The views that the last pass was made for.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Brings the views in line with what was told and leased since the last pass; what is wrong with them the next one says.
    pub fn look_at_views(&mut self) {
        let _ = self.update_views(&self.shared.held());
    }

    fn update_views(&mut self, held: &Held) -> Vec<ViewError> {
        let errors = self.views.update(held);
        self.views.lay(&self.shared.config.host, &self.shared.leases());
        errors
    }

    /// The underlay, once it was seen.
    pub fn underlay(&self) -> Option<&Underlay> {
        self.observed.as_ref().map(|observed| &observed.underlay)
    }

    /// The node's main address, once it was seen.
    pub fn node(&self) -> Option<Ipv4Addr> {
        self.observed.as_ref().map(|observed| observed.own)
    }

    /// Are rows and programs of this interface in place?
    pub fn serves(&self, ifindex: u32) -> bool {
        self.programs.as_ref().is_some_and(|programs| programs.serves(ifindex))
    }

    /// Asks the kernel whether the programs of an interface are in place, and the rows as they were written. Nothing is mended here.
    pub fn verify(&mut self, ifindex: u32) -> Result<(), VerifyError> {
        let programs = self.programs.as_mut().ok_or(VerifyError::NotLoaded)?;
        tokio::task::block_in_place(|| programs.verify(ifindex))
    }

    /// Brings the host to what it should be, and says how far that went.
    pub async fn pass(&mut self) -> Progress {
        let held = self.shared.held();
        let mut errors = Vec::new();
        let before = self.shared.progress().borrow().applied_revision;
        if let Err(error) = self.try_pass(&held, &mut errors).await {
            errors.push(error);
        }
        let attached = self.shared.attached();
        let ports = self.views.ports_of(&self.shared.config.host);
        let (mut placed, mut served) = (0_u32, 0_u32);
        for port in ports {
            placed = placed.saturating_add(1);
            let workload = attached.get(port.name.as_str());
            served = served.saturating_add(u32::from(workload.is_some_and(|workload| self.serves(workload.ifindex))));
        }
        let progress = Progress {
            applied_revision: if errors.is_empty() { held.revision } else { before },
            error: errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            refused: self.shared.refusals().in_words(),
            unsupported: held.unsupported(),
            ports: placed,
            ports_attached: served,
            attachment: self.programs.as_ref().map(Programs::form).unwrap_or_default(),
        };
        if !progress.error.is_empty() && self.shared.progress().borrow().error != progress.error {
            tracing::error!(error = progress.error, "the host is not as it should be");
        }
        if !progress.refused.is_empty() && self.shared.progress().borrow().refused != progress.refused {
            tracing::error!(refused = progress.refused, "the controller refuses ports of this host");
        }
        self.shared.set_progress(progress.clone());
        progress
    }

    async fn try_pass(&mut self, held: &Held, errors: &mut Vec<ReconcileError>) -> Result<(), ReconcileError> {
        if self.shared.leases_are_lost() {
            self.find_leases().await?;
        }
        errors.extend(self.update_views(held).into_iter().map(ReconcileError::from));
        self.shared.change_refusals(|refusals| refusals.keep(|port| self.views.is_unheard(port)));
        self.shared.set_claim(self.views.claim(&self.shared.refusals()));
        let placed = self.views.ports_of(&self.shared.config.host);
        self.shared.set_placed(placed.map(|port| (port.name.to_string(), port.addresses.clone())).collect());
        if !held.unreadable.is_empty() {
            errors.push(ReconcileError::Unreadable(held.unreadable.iter().cloned().collect()));
        }
        let host = host_of(held).ok_or(ReconcileError::NotTold)?;
        let address = underlay_address(host)?;
        self.observe(address).await?;
        let Some(observed) = &self.observed else { return Ok(()) };
        observed.underlay.check_address(address)?;
        let config = host_config(host.index, address, &observed.underlay, self.settings.features);
        let facts = HostFacts {
            host: host.index,
            underlay: address,
            underlay_ifindex: observed.underlay.uplink.index,
            gateways: observed.gateways.clone(),
            addresses: observed.addresses.clone(),
            flow_rows: self.settings.sizes.of(&maps::FLOWS),
            meters: BTreeMap::new(),
        };
        let (gone, attached) = self.divide(held);
        let mut places = places(&attached, &self.leaving);
        places.insert((Hook::FromUnderlay, observed.underlay.uplink.index));
        places.insert((Hook::FromOverlay, observed.underlay.overlay.index));
        self.freeing.retain(|_, removal| !removal.is_over());
        let freeing: BTreeSet<u32> = self.freeing.keys().copied().collect();
        tokio::task::block_in_place(|| {
            let loaded = self.load(config);
            if let (Ok(()), Some(programs)) = (&loaded, &mut self.programs)
                && programs.come_before_rows()?
            {
                errors.extend(programs.place(&places, &freeing).into_iter().map(ReconcileError::from));
            }
            // Where new programs cannot be loaded, the old ones go on with new rows.
            errors.extend(self.write_rows(held, &facts, &attached)?);
            loaded?;
            if let Some(programs) = &mut self.programs {
                errors.extend(programs.place(&places, &freeing).into_iter().map(ReconcileError::from));
            }
            Ok::<_, ReconcileError>(())
        })?;
        for (port, workload) in gone {
            self.unplug(&port, &workload).await?;
        }
        self.refresh().await?;
        Ok(())
    }

    /// Loads the programs, for the first time or because what they know of the host has changed.
    fn load(&mut self, config: HostConfig) -> Result<(), ReconcileError> {
        if self.programs.as_ref().is_some_and(|programs| *programs.config() == config) {
            return Ok(());
        }
        let mut programs = match &self.programs {
            // The old ones hold the folder of pins, and stay in place until the new ones are.
            Some(old) => old.reload(config)?,
            None => Programs::load(&self.settings, config)?,
        };
        self.diagnostics.loaded(&self.settings, &mut programs);
        tracing::info!(host = config.host, "programs loaded");
        self.programs = Some(programs);
        Ok(())
    }

    /// Brings the tables to what they should be. Networks that do not fit beside the others keep the rows that they have.
    fn write_rows(
        &mut self,
        held: &Held,
        facts: &HostFacts,
        attached: &Attached,
    ) -> Result<Option<ReconcileError>, ReconcileError> {
        let Some(programs) = &mut self.programs else { return Ok(None) };
        let attachments = plan_attachments(attached, &self.shared.leases());
        let found = programs.found()?;
        let facts = HostFacts { meters: self.diagnostics.seat(self.views.all(), found), ..facts.clone() };
        let mut wanted: Wanted = compile_with(&mut self.memory, self.views.all(), &facts, &attachments, found);
        let refused = std::mem::take(&mut wanted.refused);
        let spoken = self.views.spoken(held);
        if spoken.is_some() || !refused.is_empty() {
            let attached = attached.values().map(|workload| workload.ifindex).collect();
            let is_refused = |network| refused.iter().any(|refused| refused.index == network);
            let is_spoken = |network| !is_refused(network) && spoken.is_none_or(|spoken| spoken.contains(&network));
            keep(&mut wanted, found, is_spoken, &attached);
        }
        let mut steps = changes(found, &wanted);
        let all = steps.len();
        if !self.leaving.is_empty() {
            steps.truncate(needed(&steps));
        }
        // Names first: a counter that moves has a name.
        self.diagnostics.name(&wanted);
        programs.apply(&steps, &wanted)?;
        if steps.len() == all {
            programs.forget_rules(&wanted);
        }
        if !steps.is_empty() {
            tracing::info!(steps = steps.len(), "tables changed");
        }
        Ok((!refused.is_empty()).then_some(ReconcileError::TooLarge(refused)))
    }

    /// Looks at interfaces and routes, unless nothing has changed since.
    async fn observe(&mut self, own: Ipv4Addr) -> Result<(), ReconcileError> {
        let endpoints = self.views.endpoints(own);
        let changed = self.shared.take_network_changed();
        if !changed && self.observed.as_ref().is_some_and(|observed| observed.endpoints == endpoints) {
            return Ok(());
        }
        let before = self.observed.take().map(|observed| observed.addresses);
        let config = &self.shared.config;
        let underlay = Underlay::establish(&self.netlink, &config.underlay, config.vxlan_port).await?;
        let gateways = underlay.gateways(&self.netlink, &endpoints).await?;
        // First the list, then the kernel: a workload that is attached meanwhile is not missed.
        let attached = self.shared.attached();
        let links = self.netlink.links().await?;
        if !self.adopted {
            self.adopt(&links).await?;
            self.adopted = true;
        }
        self.drop_vanished(&attached, &links)?;
        let addresses = node::addresses(&self.netlink, own).await?;
        if before.is_some_and(|before| before != addresses) {
            self.lead_to_pods(own).await;
        }
        self.observed = Some(Observed { underlay, gateways, endpoints, own, addresses });
        Ok(())
    }
}

/// How many of these steps change what passes. Those behind them free what nothing uses any more, and begin by waiting until that is
/// certain: the next pass finds it in the tables, and nobody who takes a workload away waits for it.
fn needed(steps: &[Step]) -> usize {
    let last = steps.iter().rposition(|step| *step == Step::Grace);
    last.filter(|place| *place > 0).unwrap_or(steps.len())
}

/// Runs passes for ever: when something woke it, and from time to time.
pub async fn run(shared: Arc<Shared>, reconciler: Arc<Mutex<Reconciler>>) {
    let mut timer = tokio::time::interval(HEALTH);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks = 0_u32;
    loop {
        let woken = tokio::select! {
            () = shared.woken() => true,
            _ = timer.tick() => false,
        };
        let mut turn = reconciler.lock().await;
        if woken {
            if shared.network_has_changed() {
                turn.report_health(false).await;
            }
            turn.pass().await;
            continue;
        }
        ticks = ticks.wrapping_add(1);
        let verify = ticks.is_multiple_of(turn.verify_every());
        turn.report_health(verify).await;
        if verify || ticks.is_multiple_of(FULL_EVERY) || ticks == 1 {
            shared.look_again();
            turn.pass().await;
        }
        drop(turn);
        for _ in 0..SETTLED_AT_ONCE {
            // Who waits for the reconciler has it between two of them.
            if !reconciler.lock().await.settle() {
                break;
            }
        }
    }
}
