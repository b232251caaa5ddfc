//! The plugin as a runtime sees it: environment and standard input in, JSON and an exit code out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    io::Write as _,
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
