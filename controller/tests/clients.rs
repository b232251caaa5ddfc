//! Clients in other languages, generated from the schema as their users do, each with one script against a controller.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use support::Controller;

/// Debian's own interpreter, which sees Debian's python3-grpcio: another may stand before it on the path.
const PYTHON: &str = "/usr/bin/python3";

fn run(command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; `./x test` installs what is needed"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_works() {
    let folder = tempfile::tempdir().unwrap();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let files: Vec<PathBuf> =
        std::fs::read_dir(schema.join("andromede/v1")).unwrap().map(|it| it.unwrap().path()).collect();
    let generated = folder.path().join("generated");
    std::fs::create_dir(&generated).unwrap();
    run(Command::new("protoc")
        .arg("--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin")
        .arg(format!("--proto_path={}", schema.display()))
        .arg(format!("--python_out={}", generated.display()))
        .arg(format!("--grpc_python_out={}", generated.display()))
        .args(files));
    let controller = Controller::plaintext(&folder.path().join("store")).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/client.py");
    let mut command = Command::new(PYTHON);
    command.arg(script).arg(controller.address.to_string()).env("PYTHONPATH", &generated);
    let told = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    assert_eq!(told, "done\n");
    controller.stop().await;
}
