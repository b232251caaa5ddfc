//! What an instance's tables belong to.
//!
//! The tables hold indexes of interfaces, and the kernel gives those out again: after the underlay interface was
//! made anew, or in another network namespace, the same number is another device. The bpf file system holds no
//! files, so the agent keeps this record in its state folder, and compares before it adopts.

use std::{fmt, fs, io, os::unix::fs::MetadataExt};

use serde::{Deserialize, Serialize};

use crate::InstanceName;

/// What the pins of an instance were made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Name of the instance.
    pub instance: String,
    /// Inode of the network namespace.
    pub network_namespace: u64,
    /// Name of the underlay interface.
    pub underlay: String,
    /// Its index.
    pub underlay_ifindex: u32,
    /// Its Ethernet address, in transmission order.
    pub underlay_mac: [u8; 6],
}

/// Why an identity cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no such interface, or it is not an Ethernet one.
    #[error("there is no Ethernet interface {0:?} in this network namespace; name the underlay interface")]
    NoInterface(String),
    /// The kernel refused.
    #[error("cannot read {what}")]
    Os {
        /// What was read.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// The pins were made for something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the pins were made for {property} {recorded}, but it is {present} now; \
     what they hold is not true here: remove the pins of the instance, and it starts anew"
)]
pub struct IdentityMismatch {
    /// What differs.
    pub property: &'static str,
    /// As it was when the pins were made.
    pub recorded: String,
    /// As it is.
    pub present: String,
}

impl Identity {
    /// What an instance is in the network namespace of this thread.
    pub fn read(instance: &InstanceName, underlay: &str) -> Result<Self, IdentityError> {
        let os = |what| move |source| IdentityError::Os { what, source };
        let namespace = fs::metadata("/proc/thread-self/ns/net").map_err(os("the network namespace"))?;
        let addresses = nix::ifaddrs::getifaddrs().map_err(|errno| os("the interfaces")(errno.into()))?;
        let link = addresses
            .filter(|interface| interface.interface_name == underlay)
            .find_map(|interface| interface.address?.as_link_addr().map(|link| (link.ifindex(), link.addr())));
        let Some((ifindex, Some(mac))) = link else {
            return Err(IdentityError::NoInterface(underlay.to_owned()));
        };
        Ok(Self {
            instance: instance.to_string(),
            network_namespace: namespace.ino(),
            underlay: underlay.to_owned(),
            underlay_ifindex: u32::try_from(ifindex).unwrap_or(0),
            underlay_mac: mac,
        })
    }

    /// May what was pinned under the recorded identity be adopted under this one?
    pub fn check(&self, recorded: &Self) -> Result<(), IdentityMismatch> {
        let differs = |property, recorded: &dyn fmt::Display, present: &dyn fmt::Display| {
            let (recorded, present) = (recorded.to_string(), present.to_string());
            if recorded == present { Ok(()) } else { Err(IdentityMismatch { property, recorded, present }) }
        };
        differs("instance", &recorded.instance, &self.instance)?;
        differs("network namespace", &recorded.network_namespace, &self.network_namespace)?;
        differs("underlay interface", &recorded.underlay, &self.underlay)?;
        differs("underlay interface index", &recorded.underlay_ifindex, &self.underlay_ifindex)?;
        differs("underlay address", &ethernet(recorded.underlay_mac), &ethernet(self.underlay_mac))
    }
}

fn ethernet(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn each_difference_is_named() {
        let identity = Identity {
            instance: "a".into(),
            network_namespace: 1,
            underlay: "eth0".into(),
            underlay_ifindex: 2,
            underlay_mac: [2, 0, 0, 0, 0, 1],
        };
        assert_eq!(identity.check(&identity), Ok(()));
        let cases = [
            (Identity { instance: "b".into(), ..identity.clone() }, "instance"),
            (Identity { network_namespace: 9, ..identity.clone() }, "network namespace"),
            (Identity { underlay: "eth1".into(), ..identity.clone() }, "underlay interface"),
            (Identity { underlay_ifindex: 3, ..identity.clone() }, "underlay interface index"),
            (Identity { underlay_mac: [2, 0, 0, 0, 0, 2], ..identity.clone() }, "underlay address"),
        ];
        for (recorded, property) in cases {
            assert_eq!(identity.check(&recorded).unwrap_err().property, property);
        }
    }

    #[test]
    fn loopback_has_an_identity_and_nothing_has_none() {
        let instance = "a".parse().unwrap();
        let identity = Identity::read(&instance, "lo").unwrap();
        assert_eq!((identity.underlay_ifindex, identity.underlay_mac), (1, [0; 6]));
        assert!(matches!(Identity::read(&instance, "no-such"), Err(IdentityError::NoInterface(_))));
    }
}
