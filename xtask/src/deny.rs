//! What deny.toml says of third-party crates, checked from the lock files without a network.
//!
//! The file is cargo-deny's, and cargo-deny reads it too where it is installed. Building cargo-deny takes longer than
//! the rest of the continuous integration, so the part that needs no advisory database is checked here.

mod expression;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result, bail};
use expression::Expression;
use serde::Deserialize;

use crate::workspace::{self, MANIFESTS, Package};

/// The part of deny.toml that is checked here.
#[derive(Debug, Deserialize)]
struct Policy {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// A licence that one crate may have.
#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Bans {
    #[serde(default)]
    deny: Vec<Named>,
    #[serde(default)]
    skip: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: BTreeSet<String>,
}

/// Checks every crate of every lock file.
pub(crate) fn run() -> Result<()> {
    let text = fs::read_to_string(workspace::root().join("deny.toml")).context("cannot read deny.toml")?;
    let policy: Policy = toml::from_str(&text).context("deny.toml")?;
    let (mut problems, mut crates) = (BTreeSet::new(), 0);
    for manifest in MANIFESTS.iter().filter(|manifest| workspace::root().join(manifest).is_file()) {
        let metadata = workspace::metadata(manifest, true)?;
        let outside: Vec<Package> = metadata.packages.into_iter().filter(|package| package.source.is_some()).collect();
        crates += outside.len();
        problems.extend(outside.iter().flat_map(|package| check(package, &policy)));
        problems.extend(duplicates(&outside, &policy));
    }
    for problem in &problems {
        eprintln!("deny: {problem}");
    }
    if !problems.is_empty() {
        bail!("deny: {} problems", problems.len());
    }
    println!("deny: {crates} third-party crates, licences, sources and bans as deny.toml allows");
    if workspace::succeeds(&mut workspace::command("cargo", &["deny", "--version"])) {
        let cargo_deny = ["deny", "--offline", "check", "licenses", "bans", "sources"];
        workspace::run(&mut workspace::command("cargo", &cargo_deny))?;
    }
    Ok(())
}

fn check(package: &Package, policy: &Policy) -> Vec<String> {
    let (name, version) = (&package.name, &package.version);
    let mut problems = Vec::new();
    let source = package.source.as_deref().unwrap_or_default();
    let registry = source.strip_prefix("registry+").or_else(|| source.strip_prefix("sparse+")).unwrap_or(source);
    if !policy.sources.allow_registry.contains(registry) {
        problems.push(format!("{name} {version} comes from {source}, which deny.toml does not allow"));
    }
    if policy.bans.deny.iter().any(|banned| banned.name == *name) {
        problems.push(format!("{name} {version} is banned by deny.toml"));
    }
    let exceptions = policy.licenses.exceptions.iter().filter(|exception| exception.name == *name);
    let mut allowed: BTreeSet<&str> = policy.licenses.allow.iter().map(String::as_str).collect();
    allowed.extend(exceptions.flat_map(|exception| exception.allow.iter().map(String::as_str)));
    match package.license.as_deref().map(Expression::parse) {
        None => problems.push(format!("{name} {version} declares no licence")),
        Some(None) => problems.push(format!("{name} {version} declares a licence that is not an SPDX expression")),
        Some(Some(expression)) if !expression.is_met(&allowed) => {
            let license = package.license.as_deref().unwrap_or_default();
            problems.push(format!("{name} {version} is under {license}, which deny.toml does not allow"));
        }
        Some(Some(_)) => {}
    }
    problems
}

/// Crates that are there in several versions, other than those deny.toml skips.
fn duplicates(packages: &[Package], policy: &Policy) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions
        .into_iter()
        .filter(|(name, versions)| versions.len() > 1 && !policy.bans.skip.iter().any(|skipped| skipped.name == *name))
        .map(|(name, versions)| {
            let versions: Vec<&str> = versions.into_iter().collect();
            format!(
                "{name} is there as {}: agree on one, or skip it in deny.toml with a reason",
                versions.join(" and ")
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const CRATES_IO: &str = "https://github.com/rust-lang/crates.io-index";

    fn policy() -> Policy {
        toml::from_str(&format!(
            "[licenses]\nallow = [\"MIT\"]\nexceptions = [{{ crate = \"odd\", allow = [\"ISC\"] }}]\n\
             [bans]\ndeny = [{{ crate = \"openssl\" }}]\nskip = [{{ crate = \"twice\" }}]\n\
             [sources]\nallow-registry = [\"{CRATES_IO}\"]\n"
        ))
        .unwrap()
    }

    fn package(name: &str, version: &str, license: Option<&str>, source: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.map(str::to_owned),
            source: Some(source.to_owned()),
            manifest_path: PathBuf::new(),
            dependencies: Vec::new(),
        }
    }

    fn from_crates_io(name: &str, license: &str) -> Package {
        package(name, "1.0.0", Some(license), &format!("registry+{CRATES_IO}"))
    }

    #[test]
    fn an_allowed_crate_passes() {
        assert_eq!(check(&from_crates_io("a", "MIT OR Apache-2.0"), &policy()), Vec::<String>::new());
        assert_eq!(check(&from_crates_io("odd", "ISC"), &policy()), Vec::<String>::new());
    }

    #[test]
    fn a_foreign_licence_is_refused() {
        assert_eq!(check(&from_crates_io("a", "GPL-3.0-only"), &policy()).len(), 1);
        assert_eq!(check(&from_crates_io("a", "ISC"), &policy()).len(), 1);
        assert_eq!(check(&from_crates_io("a", "MIT AND"), &policy()).len(), 1);
        assert_eq!(check(&package("a", "1.0.0", None, &format!("registry+{CRATES_IO}")), &policy()).len(), 1);
    }

    #[test]
    fn a_foreign_source_is_refused() {
        assert_eq!(check(&package("a", "1.0.0", Some("MIT"), "git+https://example.org/a"), &policy()).len(), 1);
    }

    #[test]
    fn a_banned_crate_is_refused() {
        assert_eq!(check(&from_crates_io("openssl", "MIT"), &policy()).len(), 1);
    }

    #[test]
    fn two_versions_of_one_crate_are_found_unless_skipped() {
        let twice = |name| [package(name, "1.0.0", None, ""), package(name, "2.0.0", None, "")];
        assert_eq!(duplicates(&twice("a"), &policy()).len(), 1);
        assert_eq!(duplicates(&twice("twice"), &policy()), Vec::<String>::new());
    }
}
