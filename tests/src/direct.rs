//! Hosts without agent and controller: the model, the plan and the packet path alone, in this process. It starts in a moment
//! even where every instruction is emulated.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::resume_unwind,
    path::Path,
    thread,
};

use andromede_abi::{HostConfig, maps};
use andromede_agent::programs::{Programs, Settings};
use andromede_dataplane::{AttachMode, Hook, Kernel, Sizes};
use andromede_model::{Host, Model, NetworkView, PortName};
use andromede_plan::{Attachment, Attachments, HostFacts, changes, compile};
use andromede_testkit::{
    Namespace, Underlay, Workload,
    fabric::INTERFACE,
    namespace::veth_and,
    packet::{VXLAN_PORT, format_mac},
    pins::Pins,
    underlay::{MTU_DEFAULT, UPLINK},
};
use anyhow::{Context as _, Result, bail, ensure};
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
    config: HostConfig,
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
        thread::scope(|scope| {
            let model = scope.spawn(|| {
                let mut model = Model::default();
                write(&mut model, documents).map(|()| model)
            });
            let mut underlay = Underlay::new(MTU_DEFAULT)?;
            let hosts = (1..).take(hosts).map(|number| DirectHost::join(&mut underlay, number, folder));
            let mut hosts = hosts.collect::<Result<Vec<_>>>()?;
            // The verifier takes most of the time, one processor for each host: it begins before there is a model.
            let loading: Vec<_> = hosts.iter().map(DirectHost::loader).map(|load| scope.spawn(load)).collect();
            let model = joined(model)?;
            hosts.iter_mut().try_for_each(|host| host.make_workloads(&model))?;
            for (host, programs) in hosts.iter_mut().zip(loading) {
                host.program(&model, joined(programs)?)?;
            }
            Ok(Self { hosts, underlay })
        })
    }

    /// A workload of host `h{host}`.
    pub fn workload(&self, host: usize, port: &str) -> Result<&Workload> {
        let host = self.hosts.get(host.wrapping_sub(1)).context("there is no such host")?;
        host.workloads.get(port).with_context(|| format!("{port} is not on the host"))
    }
}

impl DirectHost {
    /// A host on the underlay, without workloads and programs.
    fn join(underlay: &mut Underlay, number: u8, folder: &Path) -> Result<Self> {
        let namespace = underlay.join(number)?;
        let mount = folder.join(format!("h{number}"));
        std::fs::create_dir_all(&mount)?;
        let pins = Pins::new(&mount)?;
        let overlay = format!("link add {OVERLAY} type vxlan external dstport {VXLAN_PORT} nolearning");
        namespace.ip_batch(&[overlay, format!("link set {OVERLAY} up")])?;
        let config = HostConfig {
            host: number.into(),
            underlay_v4: u32::from_ne_bytes(Underlay::address(number).octets()),
            underlay_ifindex: namespace.index(UPLINK)?,
            overlay_ifindex: namespace.index(OVERLAY)?,
            vxlan_port: VXLAN_PORT.to_be(),
            underlay_mac: namespace.mac(UPLINK)?,
            features: Kernel::probe().features(),
            underlay_mtu: MTU_DEFAULT,
        };
        let (workloads, interfaces) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { namespace, workloads, interfaces, pins, config, path: None })
    }

    /// What loads its programs. They are pinned, and stay as long as the mount namespace.
    fn loader(&self) -> impl FnOnce() -> Result<Programs> + use<> {
        let (namespace, pins, config) = (self.namespace.clone(), self.pins.clone(), self.config);
        move || {
            let settings = Settings {
                pins: andromede_dataplane::Pins::new(pins.folder(), &"direct".parse()?),
                sizes: Sizes::small(),
                mode: AttachMode::Auto,
                features: config.features,
            };
            Ok(namespace.run(|| pins.run(|| Programs::load(&settings, config)))???)
        }
    }

    /// What the model calls this host.
    fn of_model<'model>(&self, model: &'model Model) -> Result<&'model Host> {
        let name = format!("hosts/h{}", self.config.host).parse()?;
        let host = model.host(&name).with_context(|| format!("the model has no {name}"))?;
        ensure!(host.index == self.config.host, "the model counts {name} as {}", host.index);
        Ok(host)
    }

    fn make_workloads(&mut self, model: &Model) -> Result<()> {
        let host = &self.of_model(model)?.name;
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

    /// Writes the rows, and attaches the programs.
    fn program(&mut self, model: &Model, programs: Programs) -> Result<()> {
        let host = self.of_model(model)?;
        let facts = HostFacts {
            host: host.index,
            underlay: host.underlay,
            underlay_ifindex: self.config.underlay_ifindex,
            gateways: BTreeMap::new(),
            addresses: BTreeSet::new(),
            flow_rows: maps::FLOWS.rows,
            meters: BTreeMap::new(),
        };
        let mut attachments = Attachments::new();
        let mut places = BTreeSet::from([
            (Hook::FromUnderlay, self.config.underlay_ifindex),
            (Hook::FromOverlay, self.config.overlay_ifindex),
        ]);
        for (port, ifindex) in &self.interfaces {
            attachments.insert(port.parse::<PortName>()?, Attachment { ifindex: *ifindex, ..Attachment::default() });
            places.extend([(Hook::FromWorkload, *ifindex), (Hook::FromHost, *ifindex)]);
        }
        let views = model.networks_of(&host.name).iter().filter_map(|network| model.view(network)).collect::<Vec<_>>();
        let place = || -> Result<PacketPath> {
            let mut path = PacketPath { programs, views, facts, attachments };
            path.settle()?;
            if let Some(error) = path.programs.place(&places, &BTreeSet::new()).into_iter().next() {
                bail!(error);
            }
            Ok(path)
        };
        self.path = Some(self.namespace.run(|| self.pins.run(place))???);
        Ok(())
    }

    /// Tells the host that its networks are like this, whether a controller would or not.
    pub fn tell(&mut self, change: impl FnMut(&mut NetworkView)) -> Result<()> {
        let path = self.path.as_mut().context("the host is not programmed")?;
        path.views.iter_mut().for_each(change);
        path.settle()
    }
}

/// What a thread ended with.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
