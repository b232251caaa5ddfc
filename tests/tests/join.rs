//! A host joins by a token, and its certificates come and go under a session that stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use andromede_testkit::{
    Process, Underlay,
    fabric::{Control, Fabric, FabricOptions, binary},
    pins::Pins,
    process::Lifetime,
    underlay::UPLINK,
    wait,
};
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(40);

struct Joining {
    fabric: Fabric,
    namespace: andromede_testkit::Namespace,
    pins: Pins,
    folder: PathBuf,
}

impl Joining {
    fn new() -> Self {
        let mut fabric = Fabric::start(FabricOptions { hosts: 1, log: "debug", ..FabricOptions::default() }).unwrap();
        let namespace = fabric.underlay_mut().join(9).unwrap();
        let folder = fabric.folder().join("h9");
        fs::create_dir_all(folder.join("bpf")).unwrap();
        let pins = Pins::new(&folder.join("bpf")).unwrap();
        let joining = Self { fabric, namespace, pins, folder };
        joining.declare();
        joining
    }

    fn declare(&self) {
        let address = Underlay::address(9);
        self.fabric.control().apply(&format!("kind: Host\nname: hosts/h9\nunderlayAddress: {address}\n")).unwrap();
    }

    fn token(&self) -> String {
        let token = self.fabric.control().ctl(&["host", "token", "create", "h9"]).unwrap();
        fs::write(self.folder.join("token"), &token).unwrap();
        token.trim().to_owned()
    }

    fn start(&self) -> Process {
        let mut command = self.namespace.command(binary("andromede-agent").unwrap());
        self.pins.enter(&mut command);
        command.env("ANDROMEDE_LOG", "debug");
        command.args([
            "run",
            "--host",
            "h9",
            "--instance",
            "h9",
            "--controller",
            &Control::url(),
            "--underlay",
            UPLINK,
        ]);
        command.arg("--tls-ca").arg(self.fabric.control().authority()).arg("--small-tables");
        command.arg("--join-token-file").arg(self.folder.join("token"));
        command.arg("--bpffs").arg(self.folder.join("bpf")).arg("--state").arg(self.folder.join("state"));
        command.arg("--socket").arg(self.folder.join("agent.sock"));
        Process::start_for(command, &self.folder.join("agent.log"), Lifetime::Parent).unwrap()
    }

    fn is_connected(&self) -> bool {
        let status = self.fabric.control().json(&["status"]).unwrap();
        let hosts = status["hosts"].as_array().unwrap();
        hosts.iter().any(|host| host["host"] == "hosts/h9" && host["connected"] == true)
    }

    fn wait_connected(&self, connected: bool) {
        wait::until("h9 is connected, or is not", PATIENCE, || (self.is_connected() == connected).then_some(()))
            .unwrap_or_else(|error| panic!("{connected}: {error}\n{}", log(&self.folder.join("agent.log"))));
    }

    fn certificate(&self) -> Vec<u8> {
        fs::read(self.folder.join("state/certificate")).unwrap()
    }
}

fn log(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_host_joins_renews_under_its_session_and_is_out_once_it_is_removed() {
    let joining = Joining::new();
    let token = joining.token();
    let mut agent = joining.start();
    joining.wait_connected(true);

    // Two lives of a certificate later it has another, by the same session.
    let first = joining.certificate();
    wait::until("a new certificate", PATIENCE, || (joining.certificate() != first).then_some(())).unwrap();
    let second = joining.certificate();
    wait::until("one more", PATIENCE, || (joining.certificate() != second).then_some(())).unwrap();
    assert!(joining.is_connected());
    let agent_log = log(&joining.folder.join("agent.log"));
    assert_eq!(agent_log.matches("session open").count(), 1, "{agent_log}");
    assert_eq!(agent_log.matches("has joined").count(), 1, "{agent_log}");

    // It comes back by what it has: the token was used.
    agent.end(Signal::SIGTERM).unwrap();
    joining.wait_connected(false);
    let mut agent = joining.start();
    joining.wait_connected(true);

    // Removed, it is out; a host that is made anew under its name is another.
    joining.fabric.control().ctl(&["delete", "host", "h9"]).unwrap();
    joining.declare();
    wait::until("it hears that it is another host's certificate", PATIENCE, || {
        log(&joining.folder.join("agent.log")).contains("earlier host").then_some(())
    })
    .unwrap();
    assert!(!joining.is_connected());
    // A new token under the running agent makes it join anew.
    let new = joining.token();
    joining.wait_connected(true);
    agent.end(Signal::SIGTERM).unwrap();

    // Neither log has a secret in it, not of what is told those who look for an error either.
    let logs = log(&joining.folder.join("agent.log")) + &log(&joining.fabric.folder().join("controller.log"));
    assert!(logs.contains("DEBUG"), "it is all there");
    let pki = joining.fabric.folder().join("pki");
    let keys = [pki.join("hosts-ca.key"), pki.join("controller-c1.key"), joining.folder.join("state/certificate")];
    let keys = keys.map(|path| log(&path));
    let private = keys.iter().filter_map(|key| key.split_once("PRIVATE KEY-----")?.1.split_once("-----END"));
    let lines: Vec<&str> = private.flat_map(|(key, _)| key.lines().filter(|line| line.len() > 20)).collect();
    assert!(lines.len() >= 3 * 2, "{lines:?}");
    for secret in lines.into_iter().chain([token.as_str(), &new, "PRIVATE KEY"]) {
        assert!(!logs.contains(secret), "a secret in a log");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(joining.folder.join("state/certificate")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}
