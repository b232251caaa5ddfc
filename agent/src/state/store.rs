//! What the host was told, on disk: an agent that starts while the controller is away programs the host from it.
//!
//! `<state>/networks/<tenant>.<network>` holds one network as the update that would tell it from scratch; `<state>/meta` the rest.
//! Files are replaced one by one, each with its own revision, so that a power cut between two of them is a lag of some networks, no damage.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use andromede_proto::{
    agent::v1::{Update, Welcome},
    unknown,
    v1::Host,
};
use prost::Message as _;

use super::{
    disk::{self, DiskError},
    held::{Held, HeldNetwork, Touched},
    unknown::Marks,
};

/// The folder of one agent.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// What was read, and what could not be.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What the host was told.
    pub held: Held,
    /// Damaged files, now moved aside; their networks are asked anew.
    pub damaged: Vec<DiskError>,
}

impl Store {
    /// The store in this folder; it is made if there is none.
    pub fn open(folder: &Path) -> Result<Self, DiskError> {
        disk::make_private_folder(folder)?;
        disk::make_private_folder(&folder.join("networks"))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Reads everything; damaged files are moved aside.
    pub fn load(&self) -> Result<Loaded, DiskError> {
        let mut loaded = Loaded::default();
        match self.read_meta() {
            Ok(Some((meta, revision))) => {
                loaded.held.store_epoch = meta.store_epoch;
                loaded.held.host = meta.host;
                loaded.held.revision = revision;
            }
            Ok(None) => {}
            Err(error @ DiskError::Damaged { .. }) => loaded.damaged.push(error),
            Err(error) => return Err(error),
        }
        for path in self.network_files()? {
            if path.extension().is_some_and(|end| end == "damaged") {
                // Set aside at an earlier start, and not told anew since.
                if !path.with_extension("view").exists() {
                    loaded.held.unreadable.insert(name_of(&path));
                }
                continue;
            }
            match read_network(&path) {
                Ok(Some((name, held))) => {
                    loaded.held.networks.insert(name, Arc::new(held));
                }
                Ok(None) => {}
                Err(error @ DiskError::Damaged { .. }) => {
                    loaded.held.unreadable.insert(name_of(&path));
                    loaded.damaged.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(loaded)
    }

    /// Writes what an update touched. Of a network that is not known whole stays what was there before: what is not known would be lost
    /// with the bytes, and the next start would take the rest for the whole. The meta file comes last: its revision is a promise about all networks.
    pub fn save(&self, held: &Held, touched: &Touched) -> Result<(), DiskError> {
        for name in &touched.written {
            if let Some(network) = held.networks.get(name).filter(|network| network.unknown.is_empty()) {
                disk::write_sealed(&self.network_path(name), &encode_network(network))?;
            }
        }
        for name in &touched.left {
            disk::remove(&self.network_path(name))?;
            disk::remove(&self.network_path(name).with_extension("damaged"))?;
        }
        self.save_meta(held)
    }

    /// Writes host, epoch and revision.
    pub fn save_meta(&self, held: &Held) -> Result<(), DiskError> {
        let meta = Welcome { protocol_version: 1, store_epoch: held.store_epoch, host: held.host.clone() };
        let mut content = held.revision.to_le_bytes().to_vec();
        content.extend(meta.encode_to_vec());
        disk::write_sealed(&self.folder.join("meta"), &content)
    }

    fn read_meta(&self) -> Result<Option<(Welcome, u64)>, DiskError> {
        let path = self.folder.join("meta");
        let Some(content) = disk::read_sealed(&path)? else { return Ok(None) };
        decode(&path, &content).map(Some)
    }

    fn network_files(&self) -> Result<Vec<PathBuf>, DiskError> {
        let folder = self.folder.join("networks");
        let list = || -> io::Result<Vec<PathBuf>> {
            fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
        };
        let mut paths = list().map_err(|source| DiskError::Io { path: folder.clone(), action: "list", source })?;
        paths.retain(|path| path.extension().is_none_or(|end| end != "new"));
        Ok(paths)
    }

    /// The parts of a name hold no dot and no slash, so the file name is unique and stays in the folder.
    fn network_path(&self, name: &str) -> PathBuf {
        let mut parts = name.split('/').skip(1).step_by(2);
        let (tenant, network) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        self.folder.join("networks").join(format!("{tenant}.{network}.view"))
    }
}

/// The network whose file this is: the reverse of [`Store::network_path`].
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    stem.split_once('.').map(|(tenant, network)| format!("tenants/{tenant}/networks/{network}")).unwrap_or(stem)
}

/// A revision or an epoch in eight bytes, then a message.
fn decode<M: prost::Name + Default>(path: &Path, content: &[u8]) -> Result<(M, u64), DiskError> {
    let Some((number, message)) = content.split_first_chunk::<8>() else {
        return Err(disk::damaged(path, "too short for its number"));
    };
    if let Some(unknown) = unknown::find::<M>(message).first() {
        return Err(disk::damaged(path, format!("a newer agent wrote it: {} is not known", unknown.what)));
    }
    let message = M::decode(message).map_err(|error| disk::damaged(path, error.to_string()))?;
    Ok((message, u64::from_le_bytes(*number)))
}

fn encode_network(network: &HeldNetwork) -> Vec<u8> {
    let snapshots = vec![network.view.clone()];
    let update = Update { revision: network.revision, snapshots, ..Update::default() };
    let mut content = network.store_epoch.to_le_bytes().to_vec();
    content.extend(update.encode_to_vec());
    content
}

fn read_network(path: &Path) -> Result<Option<(String, HeldNetwork)>, DiskError> {
    let Some(content) = disk::read_sealed(path)? else { return Ok(None) };
    let (update, store_epoch): (Update, u64) = decode(path, &content)?;
    let revision = update.revision;
    let Some(view) = update.snapshots.into_iter().next() else {
        return Err(disk::damaged(path, "it holds no network"));
    };
    let Some(name) = view.network.as_ref().map(|network| network.name.clone()) else {
        return Err(disk::damaged(path, "its network has no name"));
    };
    Ok(Some((name, HeldNetwork { store_epoch, revision, view, unknown: Marks::new() })))
}

/// The host's number and underlay address, where they are known.
pub fn host_of(held: &Held) -> Option<&Host> {
    held.host.as_ref().filter(|host| host.index != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use andromede_proto::{
        agent::v1::NetworkView,
        v1::{Network, Subnet},
    };

    use super::*;

    fn update(names: &[&str], revision: u64) -> Update {
        let view = |name: &&str| NetworkView {
            network: Some(Network { name: (*name).to_owned(), ..Network::default() }),
            subnets: vec![Subnet { name: format!("{name}/subnets/s"), ..Subnet::default() }],
            ..NetworkView::default()
        };
        let host = Host { name: "hosts/h".to_owned(), index: 7, ..Host::default() };
        Update { revision, snapshots: names.iter().map(view).collect(), host: Some(host), ..Update::default() }
    }

    #[test]
    fn a_restart_finds_what_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut held = Held::default();
        let touched =
            held.fold(9, &[update(&["tenants/a/networks/x", "tenants/a/networks/y"], 4).into()], false).unwrap();
        store.save(&held, &touched).unwrap();
        let left = Update { revision: 5, networks_left: vec!["tenants/a/networks/y".to_owned()], ..Update::default() };
        let touched = held.fold(9, &[left.into()], false).unwrap();
        store.save(&held, &touched).unwrap();
        let loaded = Store::open(folder.path()).unwrap().load().unwrap();
        assert!(loaded.damaged.is_empty());
        assert_eq!(loaded.held, held);
        assert_eq!(host_of(&loaded.held).map(|host| host.index), Some(7));
    }

    #[test]
    fn a_damaged_network_is_left_out_and_asked_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut held = Held::default();
        let touched =
            held.fold(9, &[update(&["tenants/a/networks/x", "tenants/a/networks/y"], 4).into()], false).unwrap();
        store.save(&held, &touched).unwrap();
        let path = store.network_path("tenants/a/networks/x");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let loaded = store.load().unwrap();
        assert_eq!(loaded.damaged.len(), 1);
        let unreadable = ["tenants/a/networks/x".to_owned()].into();
        assert_eq!(loaded.held.unreadable, unreadable);
        assert_eq!(loaded.held.revisions().collect::<Vec<_>>(), [("tenants/a/networks/y".to_owned(), 4)]);
        let mut again = store.load().unwrap();
        assert!(again.damaged.is_empty(), "the damaged file was moved aside");
        assert_eq!(again.held.unreadable, unreadable, "but it is not forgotten");
        // The first update does not speak of it, so the host does not hold it any more.
        let touched = again.held.fold(9, &[Update { revision: 5, ..Update::default() }.into()], false).unwrap();
        assert_eq!(touched.left, ["tenants/a/networks/x"]);
        store.save(&again.held, &touched).unwrap();
        assert!(store.load().unwrap().held.unreadable.is_empty());
    }
}
