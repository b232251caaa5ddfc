//! A crate asks for nothing that it does not use.

use std::path::Path;

use super::Finding;
use crate::workspace::{File, Package};

/// Asked for without being named in the source, and why.
const SILENT: &[(&str, &str)] = &[
    ("proc-macro2", "turns on line numbers in syn's spans"),
    ("prost", "named by generated code"),
    ("tonic-prost", "named by generated code"),
    ("prost-types", "named by generated code"),
];

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

    #[test]
    fn a_dependency_that_no_source_names_is_found() {
        let source = File { path: "plan/src/lib.rs".to_owned(), text: "use prost_reflect::Value;\n".to_owned() };
        let root = Path::new("/r");
        assert_eq!(check(&[package("prost-reflect")], std::slice::from_ref(&source), root), vec![]);
        assert_eq!(check(&[package("reflect")], std::slice::from_ref(&source), root).len(), 1);
    }
}
