//! Bundles as `andromedectl apply -f` reads them.

use std::fmt::Write as _;

/// A rule that lets everything in.
pub const ANYTHING_IN: &str = "{name: anything, direction: ingress, action: allow}";

/// A bundle under construction. Every tenant has one network, `net`, with 10.0.0.0/24 and `fd00:10::/64`.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    text: String,
}

impl Bundle {
    /// The hosts `h1` to `hN` at 192.0.2.1 to 192.0.2.N.
    pub fn hosts(count: u8) -> Self {
        Self { text: andromede_testkit::fabric::hosts_bundle(count) }
    }

    /// The bundle's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Adds a document as it is.
    #[must_use]
    pub fn with(mut self, document: &str) -> Self {
        self.document(document);
        self
    }

    fn document(&mut self, document: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "---\n{document}");
    }

    /// A tenant, its network with this VNI, and the two subnets.
    #[must_use]
    pub fn tenant(self, tenant: &str, vni: u32) -> Self {
        let network = network_name(tenant);
        self.with(&format!("kind: Tenant\nname: tenants/{tenant}\n"))
            .with(&format!("kind: Network\nname: {network}\nvni: {vni}\n"))
            .with(&format!("kind: Subnet\nname: {network}/subnets/v4\ncidr: 10.0.0.0/24\n"))
            .with(&format!("kind: Subnet\nname: {network}/subnets/v6\ncidr: fd00:10::/64\n"))
    }

    /// A security group with rules in YAML's flow style.
    #[must_use]
    pub fn group(self, tenant: &str, group: &str, rules: &[&str]) -> Self {
        let mut text = format!("kind: SecurityGroup\nname: {}\nrules:", group_name(tenant, group));
        if rules.is_empty() {
            text += " []";
        }
        for rule in rules {
            text += "\n  - ";
            text += rule;
        }
        self.with(&(text + "\n"))
    }

    /// The document before gets this line: `field: value` as YAML.
    #[must_use]
    pub fn and(mut self, line: &str) -> Self {
        self.text += line;
        self.text += "\n";
        self
    }

    /// A port on host `h{host}` with the addresses 10.0.0.`last` and `fd00:10::last`, the digits being the same.
    #[must_use]
    pub fn port(self, tenant: &str, port: &str, host: u8, last: u8, groups: &[&str]) -> Self {
        let groups: Vec<String> = groups.iter().map(|group| group_name(tenant, group)).collect();
        self.with(&format!(
            "kind: Port\nname: {}\naddresses: [10.0.0.{last}, 'fd00:10::{last}']\nhost: hosts/h{host}\nsecurityGroups: [{}]\n",
            port_name(tenant, port),
            groups.join(", ")
        ))
    }
}

/// Name of a tenant's network.
pub fn network_name(tenant: &str) -> String {
    format!("tenants/{tenant}/networks/net")
}

/// Name of a port of a tenant's network.
pub fn port_name(tenant: &str, port: &str) -> String {
    format!("{}/ports/{port}", network_name(tenant))
}

/// Name of a security group of a tenant's network.
pub fn group_name(tenant: &str, group: &str) -> String {
    format!("{}/securityGroups/{group}", network_name(tenant))
}
