//! A workload: a namespace with one interface that the agent made.

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use crate::{
    Namespace,
    packet::Mac,
    traffic::{Ping, PingReport, ping},
};

/// Name of a workload's interface.
pub const INTERFACE: &str = "eth0";

/// A workload.
#[derive(Clone, Debug)]
pub struct Workload {
    namespace: Namespace,
    port: String,
}

impl Workload {
    /// An empty namespace that is meant for this port.
    pub fn new(port: &str) -> Result<Self> {
        Ok(Self { namespace: Namespace::new()?, port: port.to_owned() })
    }

    /// A workload in a namespace that exists.
    pub fn within(namespace: Namespace, port: &str) -> Self {
        Self { namespace, port: port.to_owned() }
    }

    /// Where it runs.
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Name of its port.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// Ethernet address of its interface.
    pub fn mac(&self) -> Result<Mac> {
        self.namespace.mac(INTERFACE)
    }

    /// Addresses of its interface, in the order in which the kernel lists them, link-local ones left out.
    pub fn addresses(&self) -> Result<Vec<IpAddr>> {
        let output = self.namespace.exec(&format!("ip -o addr show dev {INTERFACE} scope global"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let of = |line: &str| {
            let mut words = line.split_whitespace().skip_while(|word| !matches!(*word, "inet" | "inet6"));
            words.nth(1)?.split('/').next()?.parse().ok()
        };
        Ok(text.lines().filter_map(of).collect())
    }

    /// The address of this family.
    pub fn address(&self, v6: bool) -> Result<IpAddr> {
        let found = self.addresses()?.into_iter().find(|address| address.is_ipv6() == v6);
        found.with_context(|| format!("{} has no address of the family", self.port))
    }

    /// Pings once.
    pub fn ping(&self, to: IpAddr) -> Result<PingReport> {
        ping(&self.namespace, to, Ping::default())
    }
}
