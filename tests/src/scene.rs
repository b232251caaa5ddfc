//! The fabric that most tests need.

use std::net::IpAddr;

use andromede_testkit::{Fabric, FabricOptions, Workload};
use anyhow::Result;

use crate::bundle::{ANYTHING_IN, Bundle, port_name};

/// VNI of the network of tenant `red`.
pub const RED_VNI: u32 = 4001;

/// VNI of the network of tenant `blue`.
pub const BLUE_VNI: u32 = 4002;

/// Two hosts and two tenants whose networks have the same addresses and whose ports admit everything, so that nothing
/// but isolation keeps them apart. Port `c` exists in `red` only.
#[derive(Debug)]
pub struct TwoTenants {
    /// `red/a`: 10.0.0.11 on h1.
    pub red_a: Workload,
    /// `red/b`: 10.0.0.12 on h2.
    pub red_b: Workload,
    /// `red/c`: 10.0.0.13 on h1.
    pub red_c: Workload,
    /// `blue/a`: 10.0.0.11 on h1.
    pub blue_a: Workload,
    /// `blue/b`: 10.0.0.12 on h2.
    pub blue_b: Workload,
    /// The hosts.
    pub fabric: Fabric,
}

impl TwoTenants {
    /// Starts it.
    pub fn start() -> Result<Self> {
        Self::start_with(FabricOptions::default())
    }

    /// Starts it with other options; at least two hosts.
    pub fn start_with(options: FabricOptions) -> Result<Self> {
        let fabric = Fabric::start(options)?;
        fabric.apply(Self::bundle(options.hosts).text())?;
        let attach = |host: u8, tenant: &str, port: &str| fabric.attach(host, &port_name(tenant, port));
        let scene = Self {
            red_a: attach(1, "red", "a")?,
            red_b: attach(2, "red", "b")?,
            red_c: attach(1, "red", "c")?,
            blue_a: attach(1, "blue", "a")?,
            blue_b: attach(2, "blue", "b")?,
            fabric,
        };
        scene.fabric.wait_in_force()?;
        Ok(scene)
    }

    /// What is applied.
    pub fn bundle(hosts: u8) -> Bundle {
        Bundle::hosts(hosts)
            .tenant("red", RED_VNI)
            .group("red", "open", &[ANYTHING_IN])
            .port("red", "a", 1, 11, &["open"])
            .port("red", "b", 2, 12, &["open"])
            .port("red", "c", 1, 13, &["open"])
            .tenant("blue", BLUE_VNI)
            .group("blue", "open", &[ANYTHING_IN])
            .port("blue", "a", 1, 11, &["open"])
            .port("blue", "b", 2, 12, &["open"])
    }
}

/// 10.0.0.`last`.
pub const fn v4(last: u8) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, last))
}

/// `fd00:10::last`, the digits being the same.
pub fn v6(last: u8) -> IpAddr {
    let digits = u16::from(last / 100) << 8 | u16::from(last / 10 % 10) << 4 | u16::from(last % 10);
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, digits))
}

/// Both addresses of a port.
pub fn both(last: u8) -> [IpAddr; 2] {
    [v4(last), v6(last)]
}

#[cfg(test)]
mod tests {
    use super::v6;

    #[test]
    fn digits_are_the_same_in_both_families() {
        assert_eq!(v6(13).to_string(), "fd00:10::13");
        assert_eq!(v6(254).to_string(), "fd00:10::254");
    }
}
