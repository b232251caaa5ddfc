//! The plugin as a runtime sees it: environment and standard input in, JSON and an exit code out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// Everything that ADD needs.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("CNI_CONTAINERID", "4f3c"),
    ("CNI_NETNS", "/run/netns/none"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_PATH", "/opt/cni/bin"),
];

const CONFIGURATION: &str =
    r#"{"cniVersion": "1.0.0", "name": "intranet", "type": "andromede-cni", "network": "tenants/t/networks/n"}"#;

/// The configuration with further fields.
fn with(fields: &str) -> String {
    format!("{}, {fields}}}", CONFIGURATION.trim_end_matches('}'))
}

/// Runs the plugin: exit code and what it wrote to standard output, which must be one JSON value.
fn run(variables: &[(&str, &str)], input: &str) -> (i32, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_andromede-cni"))
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have refused its environment without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

fn command(name: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut variables = ENVIRONMENT.to_vec();
    variables.push(("CNI_COMMAND", name));
    variables
}

#[test]
fn version_is_answered() {
    let supported = json!(["0.4.0", "1.0.0", "1.1.0"]);
    for (input, version) in [
        (r#"{"cniVersion": "1.0.0"}"#, "1.0.0"),
        (r#"{"cniVersion": "0.4.0"}"#, "0.4.0"),
        ("", "1.1.0"),
        ("{}", "1.1.0"),
    ] {
        let (code, answer) = run(&[("CNI_COMMAND", "VERSION")], input);
        assert_eq!(code, 0);
        assert_eq!(answer, json!({"cniVersion": version, "supportedVersions": supported}), "{input:?}");
    }
    let (code, answer) = run(&[("CNI_COMMAND", "VERSION")], "{");
    assert_eq!((code, &answer["code"]), (1, &json!(6)));
}

#[test]
fn without_an_agent_every_command_says_so_and_is_to_be_tried_again() {
    let configuration = with(
        r#""socket": "/nonexistent/agent.sock", "cni.dev/valid-attachments": [],
        "prevResult": {"interfaces": [{"name": "eth0", "sandbox": "/run/netns/none"}]}"#,
    );
    for (name, number) in [("ADD", 11), ("DEL", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)] {
        let (code, answer) = run(&command(name), &configuration);
        assert_eq!(code, 1, "{name}");
        assert_eq!(answer["code"], json!(number), "{name}: {answer}");
        assert_eq!(answer["cniVersion"], json!("1.0.0"), "the version of the caller");
        assert!(answer["details"].as_str().unwrap().contains("/nonexistent/agent.sock"), "{answer}");
    }
}

#[test]
fn what_is_wrong_has_the_code_of_the_specification() {
    let without_namespace: Vec<_> = command("ADD").into_iter().filter(|(name, _)| *name != "CNI_NETNS").collect();
    let cases = [
        (vec![], CONFIGURATION, 4, "CNI_COMMAND"),
        (command("FLY"), CONFIGURATION, 4, "FLY"),
        (without_namespace, CONFIGURATION, 4, "CNI_NETNS"),
        (command("ADD"), "not json", 6, "line 1"),
        (command("ADD"), "", 6, "EOF"),
        (command("ADD"), r#"{"cniVersion": "9.0.0", "name": "x"}"#, 1, "9.0.0"),
        (command("ADD"), r#"{"cniVersion": "1.1.0", "name": ""}"#, 7, "name"),
        (command("CHECK"), CONFIGURATION, 7, "prevResult"),
        (command("GC"), CONFIGURATION, 7, "cni.dev/valid-attachments"),
    ];
    for (variables, input, number, word) in cases {
        let (code, answer) = run(&variables, input);
        assert_eq!((code, &answer["code"]), (1, &json!(number)), "{answer}");
        assert!(answer["details"].as_str().unwrap().contains(word), "{word} is missing: {answer}");
    }
}

/// Runs `andromede-cni install` for a list of this content: did it succeed, and what it said.
fn install(folder: &Path, list: &str) -> (bool, String) {
    let source = folder.join("10-andromede.conflist");
    fs::write(&source, list).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_andromede-cni"));
    command.arg("install").arg("--bin-dir").arg(folder.join("bin")).arg("--conf-dir").arg(folder.join("net.d"));
    let output = command.arg("--conflist").arg(&source).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn plugin_and_list_are_put_in_place_whole_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = r#"{"type": "andromede-cni", "network": "tenants/t/networks/n"}"#;
    for others in ["", r#", {"type": "portmap"}"#] {
        let list = format!(r#"{{"cniVersion": "1.0.0", "name": "pods", "plugins": [{plugin}{others}]}}"#);
        let (done, said) = install(folder.path(), &list);
        assert!(done, "{said}");
        let installed = folder.path().join("net.d/10-andromede.conflist");
        assert_eq!(fs::read_to_string(installed).unwrap(), list);
    }
    let installed = folder.path().join("bin/andromede-cni");
    assert_eq!(fs::metadata(&installed).unwrap().permissions().mode() & 0o777, 0o755);
    let version =
        Command::new(installed).env_clear().env("CNI_COMMAND", "VERSION").stdin(Stdio::null()).output().unwrap();
    assert!(version.status.success());
    for left in ["bin", "net.d"] {
        assert_eq!(fs::read_dir(folder.path().join(left)).unwrap().count(), 1, "nothing is left beside it in {left}");
    }
}

#[test]
fn a_list_that_the_plugin_would_refuse_is_not_put_in_place() {
    let list = |plugins: &str| format!(r#"{{"cniVersion": "1.0.0", "name": "pods", "plugins": [{plugins}]}}"#);
    let ours = r#"{"type": "andromede-cni", "network": "tenants/t/networks/n"}"#;
    for (list, said) in [
        ("{".to_owned(), "EOF"),
        (list(""), "0 of its plugins"),
        (list(&format!("{ours}, {ours}")), "2 of its plugins"),
        (list(r#"{"type": "andromede-cni"}"#), "network is missing"),
        (list(r#"{"type": "andromede-cni", "network": "tenants/t/networks/n", "mtu": 9}"#), "mtu"),
        (list(ours).replace("1.0.0", "9.0.0"), "9.0.0"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (done, why) = install(folder.path(), &list);
        assert!(!done && why.contains(said), "{list}: {why}");
        assert!(!folder.path().join("bin").exists() && !folder.path().join("net.d").exists(), "{list}");
    }
}
