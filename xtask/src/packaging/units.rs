//! Tests of the systemd units: systemd itself takes them, and says how much they expose.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::PathBuf, process::Command};

use crate::workspace;

/// The services, the program of each, and the most exposure that it may have: 0 none, 100 all. The agent configures the network of
/// its host, which weighs 30 of them.
const SERVICES: &[(&str, &str, u32)] =
    &[("andromede-agent.service", "andromede-agent", 30), ("andromede-controller.service", "andromede-controller", 15)];

fn unit(name: &str) -> PathBuf {
    workspace::root().join("packaging/systemd").join(name)
}

/// The program of systemd that reads units, unless there is none on this machine.
fn analyze() -> Option<Command> {
    workspace::succeeds(Command::new("systemd-analyze").arg("--version")).then(|| Command::new("systemd-analyze"))
}

#[test]
fn systemd_takes_the_units_and_finds_little_exposure() {
    let folder = tempfile::tempdir().unwrap();
    for (name, program, most) in SERVICES {
        let Some(mut verify) = analyze() else { return };
        // It wants the program to be there.
        let copy = folder.path().join(name);
        let text = fs::read_to_string(unit(name)).unwrap().replace(&format!("/usr/bin/{program}"), "/bin/true");
        fs::write(&copy, text).unwrap();
        let verified = verify.arg("verify").arg("--man=no").arg(&copy).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success() && !said.contains(name), "{said}");

        let mut security = analyze().unwrap();
        security.args(["security", "--no-pager", "--offline=yes", &format!("--threshold={most}")]);
        let exposure = security.arg(&copy).output().unwrap();
        assert!(exposure.status.success(), "{}", String::from_utf8_lossy(&exposure.stdout));
    }
}

#[test]
fn units_start_nothing_that_is_not_configured_and_say_when_they_are_ready() {
    for (name, program, _) in SERVICES {
        let text = fs::read_to_string(unit(name)).unwrap();
        let settings: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let value = |key: &str| settings.iter().find(|(found, _)| *found == key).map(|(_, value)| *value);
        let environment = value("EnvironmentFile").unwrap();
        assert_eq!(value("ConditionPathExists"), Some(environment));
        assert_eq!(value("Type"), Some("notify"));
        assert_eq!(value("NoNewPrivileges"), Some("yes"));
        assert!(value("ExecStart").unwrap().starts_with(&format!("/usr/bin/{program} ")));
    }
}
