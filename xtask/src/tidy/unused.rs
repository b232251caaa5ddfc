//! A crate asks for nothing that it does not use, and everything it asks for is explained.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Finding;
use crate::workspace::{File, Package};

/// Asked for without being named in the source, and why.
const SILENT: &[(&str, &str)] = &[
    ("proc-macro2", "turns on line numbers in syn's spans"),
    ("prost", "named by generated code"),
    ("prost-types", "named by generated code"),
    ("tonic-prost", "named by generated code"),
];

/// Explained there, and asked for by packages outside this workspace.
const ELSEWHERE: &[&str] = &["aya-ebpf", "libfuzzer-sys"];

/// Where each third-party crate has its line.
const EXPLANATIONS: &str = "docs/dependencies.md";

/// Looks for the name of each dependency in the sources of the crate that asks for it.
pub(super) fn check(packages: &[Package], files: &[File], root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let folder = package.manifest_path.parent().and_then(|folder| folder.strip_prefix(root).ok());
        let Some(folder) = folder.and_then(Path::to_str) else { continue };
        let prefix = format!("{folder}/");
        let sources: Vec<&File> = files.iter().filter(|file| file.path.starts_with(&prefix) && file.is("rs")).collect();
        for dependency in &package.dependencies {
            let word = dependency.name.replace('-', "_");
            let silent = SILENT.iter().any(|(name, _)| *name == dependency.name);
            if !silent && !sources.iter().any(|file| names(&file.text, &word)) {
                let what = format!("{} asks for {} and does not use it", package.name, dependency.name);
                findings.push(Finding::new(format!("{prefix}Cargo.toml"), what));
            }
        }
    }
    findings
}

/// Looks for each third-party crate in docs/dependencies.md.
pub(super) fn check_explanations(packages: &[Package], files: &[File]) -> Vec<Finding> {
    let text = files.iter().find(|file| file.path == EXPLANATIONS).map_or("", |file| file.text.as_str());
    // In a table: `| aya |` or `| futures, tokio |`.
    let explained: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|line| line.split(" |").next())
        .flat_map(|cell| cell.split(", "))
        .collect();
    let asked: BTreeSet<&str> = packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| dependency.path.is_none())
        .map(|dependency| dependency.name.as_str())
        .collect();
    let without =
        asked.difference(&explained).map(|name| Finding::new(EXPLANATIONS, format!("does not say what {name} is for")));
    let headings = ["crate", "---"];
    let gone = explained.difference(&asked).filter(|name| !headings.contains(name) && !ELSEWHERE.contains(name));
    let gone = gone.map(|name| Finding::new(EXPLANATIONS, format!("explains {name}, which no crate asks for")));
    without.chain(gone).collect()
}

/// The root Cargo.toml as far as the tasks read it.
#[derive(Deserialize)]
struct Root {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    #[serde(default)]
    dependencies: toml::Table,
}

/// Looks for entries of `[workspace.dependencies]` that no crate inherits.
pub(super) fn check_workspace(packages: &[Package], files: &[File]) -> Result<Vec<Finding>> {
    let manifest = files.iter().find(|file| file.path == "Cargo.toml").context("there is no Cargo.toml")?;
    let root: Root = toml::from_str(&manifest.text).context("Cargo.toml")?;
    let asked: BTreeSet<&str> =
        packages.iter().flat_map(|package| &package.dependencies).map(|dependency| dependency.name.as_str()).collect();
    let unused = root.workspace.dependencies.keys().filter(|name| !asked.contains(name.as_str()));
    Ok(unused.map(|name| Finding::new("Cargo.toml", format!("no crate inherits {name}"))).collect())
}

/// Does the text hold this identifier?
fn names(text: &str, word: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::workspace::Dependency;

    fn package(dependency: &str) -> Package {
        Package {
            name: "andromede-plan".to_owned(),
            version: "0.1.0".to_owned(),
            license: None,
            source: None,
            manifest_path: PathBuf::from("/r/plan/Cargo.toml"),
            dependencies: vec![Dependency { name: dependency.to_owned(), kind: None, path: None }],
        }
    }

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_dependency_that_no_source_names_is_found() {
        let source = file("plan/src/lib.rs", "use prost_reflect::Value;\n");
        let root = Path::new("/r");
        assert_eq!(check(&[package("prost-reflect")], std::slice::from_ref(&source), root), vec![]);
        assert_eq!(check(&[package("reflect")], std::slice::from_ref(&source), root).len(), 1);
    }

    #[test]
    fn a_dependency_without_an_explanation_is_found() {
        let text = file(EXPLANATIONS, "| crate | for |\n| --- | --- |\n| nix | system calls |\n| aya-ebpf | maps |\n");
        assert_eq!(check_explanations(&[package("nix")], std::slice::from_ref(&text)), vec![]);
        // The one has no line, and the line of the other no crate.
        assert_eq!(check_explanations(&[package("aya")], std::slice::from_ref(&text)).len(), 2);
        assert_eq!(check_explanations(&[package("nix")], &[]).len(), 1);
    }

    #[test]
    fn an_entry_of_the_workspace_that_no_crate_inherits_is_found() {
        let manifest = file("Cargo.toml", "[workspace.dependencies]\nnix = \"0.31\"\naya = \"0.14\"\n");
        let findings = check_workspace(&[package("nix")], &[manifest]).unwrap();
        assert_eq!(findings, vec![Finding::new("Cargo.toml", "no crate inherits aya")]);
    }
}
