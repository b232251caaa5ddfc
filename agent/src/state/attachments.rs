//! Which workloads are attached, remembered over restarts of the agent.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use andromede_model::Uid;
use serde::{Deserialize, Serialize};

use super::disk::{self, DiskError};
use crate::{host::veth::Workload, pods::lease::Entry};

/// A network namespace, by what the kernel numbers it with. The number is reused only after the namespace is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsId {
    /// Device of the file system of namespaces.
    pub device: u64,
    /// Inode of the namespace.
    pub inode: u64,
}

/// A workload's interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedWorkload {
    /// Path of the namespace when it was attached.
    pub netns: PathBuf,
    /// The namespace.
    pub netns_id: NetnsId,
    /// Name of the interface inside.
    pub interface: String,
    /// Name of the host side.
    pub host_interface: String,
    /// Index of the host side.
    pub ifindex: u32,
    /// A tap device instead of a pair.
    pub tap: bool,
    /// Which of the ports that had the name over time; unset in what older agents wrote.
    #[serde(default)]
    pub uid: Uid,
    /// What the agent made of the interface; none if that is not known.
    #[serde(default)]
    pub configured: Option<Workload>,
    /// The lease of its port, and whose it is, if it is one of this host's own: by it the list of leases is made again if it is lost.
    #[serde(default)]
    pub lease: Option<Entry>,
}

/// All attached workloads, by port name.
pub type Attached = BTreeMap<String, AttachedWorkload>;

#[derive(Serialize, Deserialize)]
struct File {
    attached: Attached,
}

/// The file that remembers them.
#[derive(Clone, Debug)]
pub struct AttachmentFile {
    path: PathBuf,
}

impl AttachmentFile {
    /// The file in this state folder.
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join("attachments") }
    }

    /// Reads it. A damaged file is moved aside; interfaces are then found again by their alias.
    pub fn load(&self) -> Result<Attached, DiskError> {
        let Some(content) = disk::read_sealed(&self.path)? else { return Ok(Attached::new()) };
        let file: File =
            serde_json::from_slice(&content).map_err(|error| disk::damaged(&self.path, error.to_string()))?;
        Ok(file.attached)
    }

    /// Writes it.
    pub fn save(&self, attached: &Attached) -> Result<(), DiskError> {
        let content = serde_json::to_vec(&File { attached: attached.clone() }).map_err(|error| DiskError::Io {
            path: self.path.clone(),
            action: "encode",
            source: error.into(),
        })?;
        disk::write_sealed_for_this_boot(&self.path, &content)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn attachments_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = AttachmentFile::new(folder.path());
        assert!(file.load().unwrap().is_empty());
        let workload = AttachedWorkload {
            netns: "/run/netns/web".into(),
            netns_id: NetnsId { device: 4, inode: 4_026_532_000 },
            interface: "eth0".to_owned(),
            host_interface: "amd0123456789ab".to_owned(),
            ifindex: 12,
            tap: false,
            uid: Uid { epoch: 1, revision: 57 },
            configured: Some(Workload {
                port: "tenants/t/networks/n/ports/p".to_owned(),
                uid: Uid { epoch: 1, revision: 57 },
                interface: "eth0".to_owned(),
                mac: [2, 0, 0, 0, 0, 7],
                mtu: 1450,
                addresses: vec![("10.0.0.7".parse().unwrap(), 24)],
                routers: vec!["10.0.0.1".parse().unwrap()],
                destinations: vec!["0.0.0.0/0".parse().unwrap()],
                node_access: true,
                infrastructure: vec!["10.244.0.7".parse().unwrap()],
            }),
            lease: None,
        };
        let attached = Attached::from([("tenants/t/networks/n/ports/p".to_owned(), workload)]);
        file.save(&attached).unwrap();
        assert_eq!(file.load().unwrap(), attached);
        // As an agent without identifiers wrote it.
        let old = r#"{"attached":{"p":{"netns":"","netns_id":{"device":4,"inode":5},"interface":"eth0","host_interface":"amd0","ifindex":12,"tap":false}}}"#;
        disk::write_sealed(&file.path, old.as_bytes()).unwrap();
        let loaded = file.load().unwrap();
        assert!(loaded["p"].uid.is_unset() && loaded["p"].configured.is_none());
    }
}
