//! `andromede-cni install`: puts the plugin and its list of configurations where a runtime looks for them, as the init container of a
//! daemon set does on its node.
//!
//! Each file is written beside its place, brought to the disk and renamed: a runtime finds the old one or the new one, whole, whenever it
//! looks. The plugin comes first, because with the list a node counts as ready.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{configuration, error::CniError};

/// Name of the plugin: the `type` in a list of configurations.
const PLUGIN: &str = "andromede-cni";

/// What the command takes.
const USAGE: &str = "andromede-cni install [--bin-dir DIR] [--conf-dir DIR] [--conflist FILE]: puts this plugin into DIR \
                     (/opt/cni/bin), and the list of configurations in FILE, if one is given, into DIR (/etc/cni/net.d) under \
                     the same name";

/// Why nothing, or not all, was put in place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// The command line.
    #[error("{0}; usage: {USAGE}")]
    Usage(String),
    /// A file or folder.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The answer.
        source: io::Error,
    },
    /// The list is not one that this plugin could serve.
    #[error("--conflist {path}: {why}")]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::Io { path, action, source }
}

/// Where things go.
#[derive(Debug, PartialEq, Eq)]
struct Places {
    programs: PathBuf,
    configurations: PathBuf,
    list: Option<PathBuf>,
}

/// Reads what follows `install` on the command line.
fn places(arguments: impl Iterator<Item = OsString>) -> Result<Places, InstallError> {
    let mut places = Places { programs: "/opt/cni/bin".into(), configurations: "/etc/cni/net.d".into(), list: None };
    let mut arguments = arguments;
    while let Some(flag) = arguments.next() {
        let known = ["--bin-dir", "--conf-dir", "--conflist"].into_iter().find(|known| flag == *known);
        let known = known.ok_or_else(|| InstallError::Usage(format!("{} is not known", flag.display())))?;
        let value = arguments.next().ok_or_else(|| InstallError::Usage(format!("{known} names nothing")))?;
        match known {
            "--bin-dir" => places.programs = value.into(),
            "--conf-dir" => places.configurations = value.into(),
            _ => places.list = Some(value.into()),
        }
    }
    Ok(places)
}

/// Carries the command out: what was put where.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> Result<String, InstallError> {
    let Places { programs, configurations, list } = places(arguments)?;
    let list = list.map(|path| read_list(&path).map(|content| (path, content))).transpose()?;
    let own = Path::new("/proc/self/exe");
    let plugin = programs.join(PLUGIN);
    put(&plugin, &fs::read(own).map_err(failed(own, "read"))?, 0o755)?;
    let said = format!("{PLUGIN} {} is in {}", env!("CARGO_PKG_VERSION"), programs.display());
    let Some((path, content)) = list else { return Ok(said) };
    let target = configurations.join(path.file_name().unwrap_or_default());
    put(&target, &content, 0o644)?;
    Ok(format!("{said}, its configuration in {}", target.display()))
}

/// The list, if a runtime could give every part of it that is ours to this plugin.
fn read_list(path: &Path) -> Result<Vec<u8>, InstallError> {
    let refused = |why: String| InstallError::List { path: path.to_owned(), why };
    if path.extension().is_none_or(|extension| extension != "conflist") {
        return Err(refused("its name must end in .conflist, or no runtime reads it".to_owned()));
    }
    let content = fs::read(path).map_err(failed(path, "read"))?;
    let list = configuration::object(&content).map_err(|error| refused(error.to_string()))?;
    let plugins = list.get("plugins").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let ours: Vec<&Map<String, Value>> = plugins
        .iter()
        .filter_map(Value::as_object)
        .filter(|plugin| plugin.get("type").and_then(Value::as_str) == Some(PLUGIN))
        .collect();
    let [ours] = ours.as_slice() else {
        return Err(refused(format!("{} of its plugins have the type {PLUGIN}; it takes exactly one", ours.len())));
    };
    // As a runtime gives it to the plugin (specification, section 4, "Deriving execution configuration from plugin configuration").
    let mut derived = (*ours).clone();
    for field in ["cniVersion", "name"] {
        derived.extend(list.get(field).map(|value| (field.to_owned(), value.clone())));
    }
    let derived = Value::Object(derived).to_string();
    configuration::parse(derived.as_bytes()).map_err(|error: CniError| refused(error.to_string()))?;
    Ok(content)
}

/// Writes a file whole, or leaves the old one.
fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), InstallError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(failed(folder, "create the folder"))?;
    // Runtimes pass over names that begin with a dot, or end in something that they do not know.
    let name = path.file_name().unwrap_or_default();
    let fresh = folder.join(format!(".{}.new", name.display()));
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(mode).open(&fresh).map_err(failed(&fresh, "create"))?;
    let permissions = fs::Permissions::from_mode(mode);
    file.write_all(content)
        .and_then(|()| file.set_permissions(permissions))
        .and_then(|()| file.sync_all())
        .map_err(failed(&fresh, "write"))?;
    fs::rename(&fresh, path).map_err(failed(path, "replace"))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder, "bring to the disk"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn of(words: &str) -> Result<Places, InstallError> {
        places(words.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_command_line_is_read() {
        let standard = of("").unwrap();
        assert_eq!((standard.programs, standard.list), ("/opt/cni/bin".into(), None));
        let chosen = of("--bin-dir /b --conf-dir /c --conflist /x/10-a.conflist").unwrap();
        let list = Some("/x/10-a.conflist".into());
        assert_eq!(chosen, Places { programs: "/b".into(), configurations: "/c".into(), list });
        for bad in ["--bin-dir", "--nowhere /b", "/b"] {
            assert!(matches!(of(bad), Err(InstallError::Usage(_))), "{bad}");
        }
    }
}
