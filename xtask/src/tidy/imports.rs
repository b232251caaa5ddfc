//! Who may import whom. The table is the architecture: ARCHITECTURE.md draws it, this holds it.

use super::Finding;
use crate::workspace::Package;

/// May import any crate of ours: they are proof and tools.
const FREE: &[&str] = &["andromede-tests", "andromede-fuzz", "andromede-benches", "xtask"];

/// May be imported by tests only.
const TESTKIT: &str = "andromede-testkit";

/// May be imported by the tests of any crate: the testkit, and the pure crates, which bring nothing along.
const FOR_TESTS: &[&str] = &[TESTKIT, "andromede-abi", "andromede-pipeline", "andromede-model", "andromede-plan"];

/// Each crate and the crates of ours that it may import.
const ALLOWED: &[(&str, &[&str])] = &[
    ("andromede-abi", &[]),
    ("andromede-pipeline", &["andromede-abi"]),
    ("andromede-dataplane", &["andromede-abi"]),
    ("andromede-dataplane-ebpf", &["andromede-abi", "andromede-pipeline"]),
    ("andromede-model", &[]),
    ("andromede-plan", &["andromede-abi", "andromede-model"]),
    ("andromede-proto", &["andromede-model"]),
    (
        "andromede-controller",
        &["andromede-abi", "andromede-pipeline", "andromede-model", "andromede-plan", "andromede-proto"],
    ),
    (
        "andromede-agent",
        &[
            "andromede-abi",
            "andromede-pipeline",
            "andromede-dataplane",
            "andromede-model",
            "andromede-plan",
            "andromede-proto",
        ],
    ),
    ("andromede-cni", &["andromede-proto"]),
    ("andromede-cluster", &["andromede-model", "andromede-proto"]),
    ("andromede-cli", &["andromede-proto"]),
    (TESTKIT, &["andromede-abi"]),
];

/// Pure crates, and the only third-party crates each may use outside its tests.
const PURE: &[(&str, &[&str])] = &[
    ("andromede-abi", &[]),
    ("andromede-pipeline", &[]),
    ("andromede-model", &["ipnetwork", "serde", "thiserror"]),
    ("andromede-plan", &["ipnetwork", "serde", "thiserror"]),
];

/// Compares what the crates import with the table.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<Finding> {
    let name = package.name.as_str();
    if FREE.contains(&name) {
        return Vec::new();
    }
    let place = package.manifest_path.display().to_string();
    let Some((_, allowed)) = ALLOWED.iter().find(|(krate, _)| *krate == name) else {
        return vec![Finding::new(place, format!("{name} is not in the table of imports (xtask/src/tidy/imports.rs)"))];
    };
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let wanted = dependency.name.as_str();
        let for_tests = dependency.kind.as_deref() == Some("dev");
        let refused = if dependency.path.is_some() {
            !(allowed.contains(&wanted) || for_tests && FOR_TESTS.contains(&wanted))
        } else {
            let pure = PURE.iter().find(|(krate, _)| *krate == name);
            dependency.kind.is_none() && pure.is_some_and(|(_, outside)| !outside.contains(&wanted))
        };
        if refused {
            findings.push(Finding::new(place.clone(), format!("{name} may not import {wanted}: see ARCHITECTURE.md")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, dependencies: &[(&str, Option<&str>, bool)]) -> Package {
        Package {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            license: None,
            source: None,
            manifest_path: PathBuf::from("Cargo.toml"),
            dependencies: dependencies
                .iter()
                .map(|(name, kind, ours)| Dependency {
                    name: (*name).to_owned(),
                    kind: kind.map(str::to_owned),
                    path: ours.then(|| PathBuf::from(".")),
                })
                .collect(),
        }
    }

    #[test]
    fn an_import_of_the_table_passes() {
        let plan = package("andromede-plan", &[("andromede-model", None, true), ("serde", None, false)]);
        assert_eq!(check(&[plan]), vec![]);
    }

    #[test]
    fn an_import_against_the_table_is_found() {
        let plan = package("andromede-plan", &[("andromede-agent", None, true)]);
        let findings = check(&[plan]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("andromede-plan may not import andromede-agent"));
    }

    #[test]
    fn the_testkit_is_for_tests_only() {
        let in_tests = package("andromede-agent", &[("andromede-testkit", Some("dev"), true)]);
        assert_eq!(check(&[in_tests]), vec![]);
        let outside = package("andromede-agent", &[("andromede-testkit", None, true)]);
        assert_eq!(check(&[outside]).len(), 1);
    }

    #[test]
    fn tests_may_import_pure_crates_and_no_program() {
        let pure = package("andromede-plan", &[("andromede-pipeline", Some("dev"), true)]);
        assert_eq!(check(&[pure]), vec![]);
        let program = package("andromede-plan", &[("andromede-agent", Some("dev"), true)]);
        assert_eq!(check(&[program]).len(), 1);
    }

    #[test]
    fn a_pure_crate_takes_no_third_party_crate_that_does_io() {
        let pipeline = package("andromede-pipeline", &[("aya", None, false), ("proptest", Some("dev"), false)]);
        assert_eq!(check(&[pipeline]).len(), 1);
    }

    #[test]
    fn a_crate_that_the_table_does_not_know_is_found() {
        assert_eq!(check(&[package("andromede-surprise", &[])]).len(), 1);
    }
}
