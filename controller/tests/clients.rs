//! Clients in other languages, generated from the schema as their users do, each with one script against a controller.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use support::Controller;

/// The version that the script was written with.
const GRPCIO_TOOLS: &str = "grpcio-tools==1.76.0";

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A virtual environment with the generator, made once for all runs.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-client");
    let python = folder.join("bin/python");
    if !folder.join("made").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            GRPCIO_TOOLS,
        ]));
        std::fs::write(folder.join("made"), GRPCIO_TOOLS).unwrap();
    }
    python
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "fetches grpcio-tools from PyPI"]
async fn a_python_client_works() {
    let folder = tempfile::tempdir().unwrap();
    let python = python();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let files: Vec<PathBuf> =
        std::fs::read_dir(schema.join("andromede/v1")).unwrap().map(|it| it.unwrap().path()).collect();
    let generated = folder.path().join("generated");
    std::fs::create_dir(&generated).unwrap();
    run(Command::new(&python)
        .args(["-m", "grpc_tools.protoc"])
        .arg(format!("--proto_path={}", schema.display()))
        .arg(format!("--python_out={}", generated.display()))
        .arg(format!("--grpc_python_out={}", generated.display()))
        .args(files));
    let controller = Controller::plaintext(&folder.path().join("store")).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/client.py");
    let mut command = Command::new(&python);
    command.arg(script).arg(controller.address.to_string()).env("PYTHONPATH", &generated);
    let told = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    assert_eq!(told, "done\n");
    controller.stop().await;
}
