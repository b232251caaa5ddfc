//! Hosts without agent and controller: the model, the plan and the packet path alone, in this process. It starts in a moment
//! even where every instruction is emulated.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    panic::resume_unwind,
    path::Path,
    thread,
};

use andromede_abi::{HostConfig, maps};
use andromede_agent::programs::{Programs, Settings};
use andromede_dataplane::{AttachMode, Hook, Kernel, Sizes};
use andromede_model::{Model, NetworkView, PortName};
use andromede_plan::{Attachment, Attachments, HostFacts, changes, compile};
use andromede_testkit::{
    Namespace, Underlay, Workload,
    fabric::INTERFACE,
    namespace::veth_and,
    packet::{VXLAN_PORT, format_mac},
    pins::Pins,
    underlay::{MTU_DEFAULT, UPLINK},
};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::twin::write;

/// Name of the external vxlan device.
const OVERLAY: &str = "overlay";

/// A host whose packet path is loaded and programmed.
#[derive(Debug)]
pub struct DirectHost {
    /// Its network namespace.
    pub namespace: Namespace,
    /// Its workloads, by port name.
    pub workloads: BTreeMap<String, Workload>,
    /// Host side of each workload's interface.
    interfaces: BTreeMap<String, u32>,
    pins: Pins,
    /// Its packet path, once it is programmed.
    path: Option<PacketPath>,
}

/// What a host was told, and the programs that follow it.
#[derive(Debug)]
struct PacketPath {
    programs: Programs,
    views: Vec<NetworkView>,
    facts: HostFacts,
    attachments: Attachments,
}

impl PacketPath {
    /// Brings the tables to what was told.
    fn settle(&mut self) -> Result<()> {
        let found = self.programs.found()?.clone();
        let wanted = compile(&self.views, &self.facts, &self.attachments, &found)?;
        Ok(self.programs.apply(&changes(&found, &wanted), &wanted)?)
    }
}

/// Hosts on one underlay.
#[derive(Debug)]
pub struct DirectFabric {
    /// The hosts `h1`, `h2`...
    pub hosts: Vec<DirectHost>,
    /// The segment between them.
    pub underlay: Underlay,
}

impl DirectFabric {
    /// Makes the hosts of a model of these documents, and a workload for each of their ports.
    pub fn start(documents: Vec<Value>, folder: &Path) -> Result<Self> {
        let hosts = documents.iter().filter(|document| document["kind"] == "Host").count();
        // On an emulated machine either takes a second.
        let (model, fabric) = thread::scope(|scope| {
            let model = scope.spawn(|| {
                let mut model = Model::default();
                write(&mut model, documents).map(|()| model)
            });
            let fabric = Self::on_underlay(hosts, folder);
            (model.join().unwrap_or_else(|panic| resume_unwind(panic)), fabric)
        });
        let (model, mut fabric) = (model?, fabric?);
        // The verifier takes most of the time, one processor for each host.
        thread::scope(|scope| {
            let model = &model;
            let started: Vec<_> = (1..)
                .zip(&mut fabric.hosts)
                .map(|(number, host)| scope.spawn(move || host.start(model, number)))
                .collect();
            let ended = started.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            ended.collect::<Result<Vec<()>>>()
        })?;
        Ok(fabric)
    }

    /// Hosts without workloads and programs.
    fn on_underlay(count: usize, folder: &Path) -> Result<Self> {
        let mut fabric = Self { hosts: Vec::new(), underlay: Underlay::new(MTU_DEFAULT)? };
        for number in (1..).take(count) {
            let namespace = fabric.underlay.join(number)?;
            let mount = folder.join(format!("h{number}"));
            std::fs::create_dir_all(&mount)?;
            let pins = Pins::new(&mount)?;
            let (workloads, interfaces) = (BTreeMap::new(), BTreeMap::new());
            fabric.hosts.push(DirectHost { namespace, workloads, interfaces, pins, path: None });
        }
        Ok(fabric)
    }

    /// A workload of host `h{host}`.
    pub fn workload(&self, host: usize, port: &str) -> Result<&Workload> {
        let host = self.hosts.get(host.wrapping_sub(1)).context("there is no such host")?;
        host.workloads.get(port).with_context(|| format!("{port} is not on the host"))
    }
}

impl DirectHost {
    /// Makes its workloads, then programs it.
    fn start(&mut self, model: &Model, number: u8) -> Result<()> {
        self.make_workloads(model, &format!("hosts/h{number}").parse()?)?;
        self.program(model, number)
    }

    fn make_workloads(&mut self, model: &Model, host: &andromede_model::HostName) -> Result<()> {
        for network in model.networks_of(host) {
            let view = model.view(&network).context("a network of the host is gone")?;
            for port in view.ports.values().filter(|port| port.host.as_ref() == Some(host)) {
                let workload = Workload::new(&port.name.to_string())?;
                let inside = workload.namespace();
                let name = format!("w{}", self.workloads.len());
                let mut lines = vec![format!("link set {INTERFACE} address {}", format_mac(port.mac.bytes()))];
                for address in &port.addresses {
                    let rest = if address.is_ipv4() { "24" } else { "64 nodad" };
                    lines.push(format!("addr add dev {INTERFACE} {address}/{rest}"));
                }
                let mtu = MTU_DEFAULT - andromede_plan::OVERHEAD;
                veth_and(&self.namespace, &name, inside, INTERFACE, mtu, "", &lines)?;
                self.interfaces.insert(port.name.to_string(), self.namespace.index(&name)?);
                self.workloads.insert(port.name.to_string(), workload);
            }
        }
        Ok(())
    }

    /// Loads the programs, writes the rows, and attaches the programs.
    fn program(&mut self, model: &Model, number: u8) -> Result<()> {
        let overlay = format!("link add {OVERLAY} type vxlan external dstport {VXLAN_PORT} nolearning");
        self.namespace.ip_batch(&[overlay, format!("link set {OVERLAY} up")])?;
        let host = model.host(&format!("hosts/h{number}").parse()?).context("the host is gone")?;
        let config = self.config(host.index, host.underlay)?;
        let facts = HostFacts {
            host: host.index,
            underlay: host.underlay,
            underlay_ifindex: config.underlay_ifindex,
            gateways: BTreeMap::new(),
            addresses: BTreeSet::new(),
            flow_rows: maps::FLOWS.rows,
            meters: BTreeMap::new(),
        };
        let mut attachments = Attachments::new();
        let mut places = BTreeSet::from([
            (Hook::FromUnderlay, config.underlay_ifindex),
            (Hook::FromOverlay, config.overlay_ifindex),
        ]);
        for (port, ifindex) in &self.interfaces {
            attachments.insert(port.parse::<PortName>()?, Attachment { ifindex: *ifindex, tap: false, node: false });
            places.extend([(Hook::FromWorkload, *ifindex), (Hook::FromHost, *ifindex)]);
        }
        let views = model.networks_of(&host.name).iter().filter_map(|network| model.view(network)).collect::<Vec<_>>();
        let settings = Settings {
            pins: andromede_dataplane::Pins::new(self.pins.folder(), &"direct".parse()?),
            sizes: Sizes::small(),
            mode: AttachMode::Auto,
            features: config.features,
        };
        // What is attached is pinned, and stays as long as the mount namespace.
        let load = || -> Result<PacketPath> {
            let programs = Programs::load(&settings, config)?;
            let mut path = PacketPath { programs, views, facts, attachments };
            path.settle()?;
            if let Some(error) = path.programs.place(&places).into_iter().next() {
                bail!(error);
            }
            Ok(path)
        };
        self.path = Some(self.namespace.run(|| self.pins.run(load))???);
        Ok(())
    }

    /// Tells the host that its networks are like this, whether a controller would or not.
    pub fn tell(&mut self, change: impl FnMut(&mut NetworkView)) -> Result<()> {
        let path = self.path.as_mut().context("the host is not programmed")?;
        path.views.iter_mut().for_each(change);
        path.settle()
    }

    fn config(&self, host: u32, underlay: Ipv4Addr) -> Result<HostConfig> {
        Ok(HostConfig {
            host,
            underlay_v4: u32::from_ne_bytes(underlay.octets()),
            underlay_ifindex: self.namespace.index(UPLINK)?,
            overlay_ifindex: self.namespace.index(OVERLAY)?,
            vxlan_port: VXLAN_PORT.to_be(),
            underlay_mac: self.namespace.mac(UPLINK)?,
            features: Kernel::probe().features(),
            underlay_mtu: MTU_DEFAULT,
        })
    }
}
