//! Workloads' interfaces: whose they are, and what they have become.

use std::{net::Ipv4Addr, sync::Arc};

use andromede_model::PortName;

use super::{ReconcileError, Reconciler};
use crate::{
    facts::workload,
    host::{
        interface_name,
        netlink::{Link, NetlinkError},
        netns::Netns,
        node,
        removal::Removal,
        veth::{self, VethError, Workload},
    },
    pods::lease::is_name_of_a_lease,
    state::{
        attachments::{Attached, AttachedWorkload, NetnsId},
        disk::DiskError,
        held::Held,
    },
};

impl Reconciler {
    /// The attached workloads in two parts: those whose port is gone from this host, and the others. A port that was made anew under
    /// the same name is another one: it must not find the old workload attached, whether the agent saw it gone in between or not.
    pub(super) fn divide(&self, held: &Held) -> (Attached, Attached) {
        let host = &self.shared.config.host;
        let is_gone = |port: &str| port.parse().is_ok_and(|port| self.views.is_gone(held, &port, host));
        let is_another = |port: &str, workload: &AttachedWorkload| {
            self.views.port(port).is_some_and(|(_, port)| port.uid.differs(workload.uid))
        };
        let attached = self.shared.attached().into_iter();
        attached.partition(|(port, workload)| is_gone(port) || is_another(port, workload))
    }

    /// Removes the interface of a port that is gone; its rows and programs went before.
    pub(super) async fn unplug(&mut self, port: &str, workload: &AttachedWorkload) -> Result<(), ReconcileError> {
        let interface = &workload.host_interface;
        tracing::warn!(port, interface, "the port is no longer on this host; its workload is unplugged");
        let found = self.netlink.link(interface).await?.filter(|link| is_of(link, port, workload));
        match found {
            Some(link) => self.take_away(link.index).await?,
            None => self.forget(workload.ifindex),
        }
        Ok(self.shared.change_attached(|attached| drop(attached.remove(port)))?)
    }

    /// Removes the interface of a workload that the list does not name any more: the rows first, so that a frame that is still on its way
    /// finds a closed port, then the interface with the programs at it.
    pub async fn remove_interface(&mut self, ifindex: u32) -> Result<(), NetlinkError> {
        self.leaving.insert(ifindex);
        self.pass().await;
        self.leaving.remove(&ifindex);
        self.take_away(ifindex).await
    }

    /// Removes an interface. Its programs go with it; what is left of them, their pins, goes with the pass that follows: asked about them
    /// before, the kernel would let the agent wait.
    async fn take_away(&mut self, ifindex: u32) -> Result<(), NetlinkError> {
        self.forget(ifindex);
        let shared = Arc::clone(&self.shared);
        let removal = Removal::begin(ifindex, move || shared.wake()).await?;
        self.freeing.insert(ifindex, removal);
        Ok(())
    }

    fn forget(&mut self, ifindex: u32) {
        if let Some(programs) = &mut self.programs {
            programs.forget(ifindex);
        }
    }

    /// Interfaces of ports that the list does not name, because it was lost: those that are up are in use, the others were never finished.
    pub(super) async fn adopt(&mut self, links: &[Link]) -> Result<(), ReconcileError> {
        let attached = self.shared.attached();
        for link in links {
            let Some(port) = interface_name::port_of_alias(&link.alias) else { continue };
            let known = attached.get(port).is_some_and(|workload| workload.ifindex == link.index);
            if known || link.name != interface_name::host_side(port) {
                continue;
            }
            if !link.up {
                self.netlink.delete_link(link.index).await?;
                continue;
            }
            tracing::warn!(port, interface = link.name, "workload found again by its interface");
            let workload = AttachedWorkload {
                netns: "".into(),
                netns_id: NetnsId { device: 0, inode: 0 },
                interface: String::new(),
                host_interface: link.name.clone(),
                ifindex: link.index,
                tap: false,
                uid: interface_name::uid_of_alias(&link.alias),
                configured: None,
                lease: None,
            };
            self.shared.change_attached(|attached| drop(attached.insert(port.to_owned(), workload)))?;
        }
        Ok(())
    }

    /// After the list of leases was lost: has every pod that lives its lease again? What a pod without one may do is not known any more, so
    /// that nothing is changed until it is gone.
    pub(super) async fn find_leases(&self) -> Result<(), ReconcileError> {
        let leases = self.shared.leases();
        let links = self.netlink.links().await?;
        let live = links.iter().filter(|link| link.up).filter_map(|link| {
            let port: PortName = interface_name::port_of_alias(&link.alias)?.parse().ok()?;
            let is_lost = is_name_of_a_lease(&port) && leases.of_port(port.as_str()).is_none();
            is_lost.then(|| format!("{port} ({})", link.name))
        });
        let lost: Vec<String> = live.collect();
        if !lost.is_empty() {
            return Err(ReconcileError::LeasesLost(lost));
        }
        Ok(self.shared.keep_leases()?)
    }

    /// A workload whose namespace is gone took its interface with it. Indexes recur, so name and alias must agree too.
    pub(super) fn drop_vanished(&mut self, attached: &Attached, links: &[Link]) -> Result<(), ReconcileError> {
        let there = |port: &str, workload: &AttachedWorkload| links.iter().any(|link| is_of(link, port, workload));
        for (port, workload) in attached {
            if there(port, workload) {
                continue;
            }
            tracing::info!(port, interface = workload.host_interface, "workload is gone");
            self.forget(workload.ifindex);
            self.shared.change_attached(|attached| drop(attached.remove(port)))?;
        }
        Ok(())
    }

    /// Brings interfaces that the agent made to what their ports have become: Ethernet address, addresses, routers, MTU. Rows and
    /// programs went before. A workload whose interface cannot be reached keeps what it has, and can use of it what its port has.
    pub(super) async fn refresh(&mut self) -> Result<(), DiskError> {
        let Some(observed) = &self.observed else { return Ok(()) };
        let leases = self.shared.leases();
        for (port, known) in self.shared.attached() {
            let Some((view, found)) = self.views.port(&port) else { continue };
            if known.uid.is_unset() && !found.uid.is_unset() {
                // Attached by an agent that did not know identifiers yet.
                let uid = found.uid;
                self.remember(&port, |workload| workload.uid = uid)?;
            }
            let mtu = observed.underlay.workload_mtu(view.network.mtu.unwrap_or(0));
            let wanted = workload(view, found, &known.interface, mtu, &leases);
            let Some(configured) = known.configured.as_ref().filter(|configured| **configured != wanted) else {
                continue;
            };
            if self.refused.get(&port) == Some(&wanted) {
                continue;
            }
            match self.reconfigure(&known, configured, &wanted).await {
                Ok(()) => {
                    tracing::info!(port, interface = known.host_interface, "interface brought to what its port is now");
                    self.refused.remove(&port);
                    self.remember(&port, |workload| workload.configured = Some(wanted))?;
                }
                Err(error) => {
                    tracing::warn!(port, %error, "the port has changed, but not its interface: attach the workload anew");
                    self.refused.insert(port, wanted);
                }
            }
        }
        Ok(())
    }

    /// Tells the node anew where its pods are: routes go with the address that they name as source.
    pub(super) async fn lead_to_pods(&self, node: Ipv4Addr) {
        for (port, known) in self.shared.attached() {
            let Some(workload) = &known.configured else { continue };
            if let Err(error) = node::lead(&self.netlink, known.ifindex, workload, node).await {
                tracing::error!(port, %error, "the node does not reach its pod");
            }
        }
    }

    /// The next pass tries again to bring this port's interface to what it should be.
    pub fn try_again(&mut self, port: &str) {
        self.refused.remove(port);
    }

    /// Writes down something about an attached workload, if it still is.
    fn remember(&self, port: &str, change: impl FnOnce(&mut AttachedWorkload)) -> Result<(), DiskError> {
        self.shared.change_attached(|attached| {
            if let Some(workload) = attached.get_mut(port) {
                change(workload);
            }
        })
    }

    async fn reconfigure(&self, known: &AttachedWorkload, from: &Workload, to: &Workload) -> Result<(), VethError> {
        let netns = Netns::open(&known.netns)?;
        if netns.id != known.netns_id {
            return Err(VethError::Vanished(known.interface.clone()));
        }
        veth::change(&self.netlink, &netns, known.ifindex, from, to).await
    }
}

/// Is this the interface of this workload?
fn is_of(link: &Link, port: &str, workload: &AttachedWorkload) -> bool {
    link.index == workload.ifindex
        && link.name == workload.host_interface
        && interface_name::port_of_alias(&link.alias) == Some(port)
}
