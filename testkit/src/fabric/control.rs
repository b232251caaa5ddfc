//! The controller, its certificates, and `andromedectl`.

use std::{
    fs,
    io::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::binary;
use crate::{
    Namespace, Process, Underlay,
    process::{Lifetime, shorten},
    wait,
};

/// Last byte of the controller's address on the underlay.
pub const CONTROLLER_NUMBER: u8 = 250;

/// TCP port that it listens on.
pub const CONTROLLER_PORT: u16 = 7470;

/// Seconds for which the certificate of a host that joined is valid: so short that a test sees it renewed.
const JOINED_SECONDS: u32 = 12;

/// How long programs may take to start.
const START: Duration = Duration::from_secs(15);

/// How long a bundle may take: the largest there may be, by a debug build, on a busy machine.
const APPLYING: &str = "2m";

/// A controller with an embedded store, in a namespace of its own on the underlay.
#[derive(Debug)]
pub struct Control {
    process: Option<Process>,
    namespace: Namespace,
    folder: PathBuf,
    lifetime: Lifetime,
    log: &'static str,
}

impl Control {
    /// Makes certificates and starts the controller; it listens when this returns.
    pub fn start(namespace: Namespace, folder: &Path, lifetime: Lifetime, log: &'static str) -> Result<Self> {
        fs::create_dir_all(folder.join("pki"))?;
        let mut control = Self { process: None, namespace, folder: folder.to_owned(), lifetime, log };
        control.pki(&["init"])?;
        control.pki(&["hosts"])?;
        control.issue("controller", "c1", &[&Self::address().to_string()])?;
        control.user("admin", &["--role", "operator"])?;
        control.restart()?;
        Ok(control)
    }

    /// Its address.
    pub const fn address() -> Ipv4Addr {
        Underlay::address(CONTROLLER_NUMBER)
    }

    /// Its URL.
    pub fn url() -> String {
        format!("https://{}:{CONTROLLER_PORT}", Self::address())
    }

    /// Where it runs.
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Starts it (again), with the store it has.
    pub fn restart(&mut self) -> Result<()> {
        self.stop(Signal::SIGTERM)?;
        let mut command = self.namespace.command(binary("andromede-controller")?);
        let listen = format!("{}:{CONTROLLER_PORT}", Self::address());
        command
            .env("ANDROMEDE_LOG", self.log)
            .args(["serve", "--listen", &listen, "--store"])
            .arg(self.folder.join("store"));
        command.arg("--tls-cert").arg(self.certificate("controller", "c1"));
        command.arg("--tls-key").arg(self.key("controller", "c1"));
        command.arg("--client-ca").arg(self.authority());
        command.arg("--host-ca").arg(self.folder.join("pki/hosts-ca.pem"));
        command.arg("--host-ca-key").arg(self.folder.join("pki/hosts-ca.key"));
        command.args(["--host-certificate-seconds", &JOINED_SECONDS.to_string()]);
        let mut process = Process::start_for(command, &self.folder.join("controller.log"), self.lifetime)?;
        let listening = || self.namespace.exec(&format!("ss -Hltn sport = :{CONTROLLER_PORT}"));
        let up = wait::until("the controller listens", START, || {
            process
                .check()
                .err()
                .map(Err)
                .or_else(|| listening().ok().filter(|seen| !seen.stdout.is_empty()).map(|_| Ok(())))
        });
        up.with_context(|| process.tail())??;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it, if it runs.
    pub fn stop(&mut self, signal: Signal) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.end(signal)?;
        }
        Ok(())
    }

    /// Process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Leaves it running for good.
    pub fn leave(&mut self) {
        self.process.take().map(Process::leave).unwrap_or_default();
    }

    /// What it wrote last.
    pub fn tail(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }

    /// The certificate of the authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("pki/ca.pem")
    }

    /// The certificate of a principal.
    pub fn certificate(&self, role: &str, name: &str) -> PathBuf {
        self.folder.join(format!("pki/{role}-{name}.pem"))
    }

    /// Its key.
    pub fn key(&self, role: &str, name: &str) -> PathBuf {
        self.folder.join(format!("pki/{role}-{name}.key"))
    }

    fn pki(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(binary("andromedectl")?);
        command.arg("pki").args(arguments).arg("--dir").arg(self.folder.join("pki"));
        let output = command.output()?;
        ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Issues a certificate: role "controller" or "host".
    pub fn issue(&self, role: &str, name: &str, addresses: &[&str]) -> Result<()> {
        let mut arguments = vec!["issue", "--role", role, "--name", name];
        for address in addresses {
            arguments.extend(["--san", address]);
        }
        self.pki(&arguments)
    }

    /// Issues a user's certificate: its role, and the tenant if it is that of one.
    pub fn user(&self, name: &str, role: &[&str]) -> Result<()> {
        self.pki(&[&["user", name], role].concat())
    }

    /// `andromedectl` with the rights of a principal.
    pub fn command_as(&self, role: &str, name: &str) -> Result<Command> {
        let mut command = self.namespace.command(binary("andromedectl")?);
        command.arg("--controller").arg(Self::url()).arg("--tls-ca").arg(self.authority());
        command.arg("--tls-cert").arg(self.certificate(role, name)).arg("--tls-key").arg(self.key(role, name));
        Ok(command)
    }

    /// Runs `andromedectl` as the administrator, with this on its standard input.
    pub fn run(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = self.command_as("user", "admin")?;
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting andromedectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output().context("waiting for andromedectl")
    }

    /// Runs `andromedectl`, which must succeed, and returns what it prints.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        self.ctl_with(arguments, "")
    }

    fn ctl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let output = self.run(arguments, input)?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("`andromedectl {}` failed ({}): {stderr}", arguments.join(" "), output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `andromedectl ... -o json` and reads the answer.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ctl(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("`andromedectl {}` printed {text:?}", arguments.join(" ")))
    }

    /// Applies a bundle.
    pub fn apply(&self, bundle: &str) -> Result<String> {
        self.ctl_with(&["apply", "--timeout", APPLYING, "-f", "-"], bundle)
    }

    /// Applies a bundle that must be refused, and returns what is said about it.
    pub fn apply_refused(&self, bundle: &str) -> Result<String> {
        let output = self.run(&["apply", "--timeout", APPLYING, "-f", "-"], bundle)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "a bundle that must be refused was applied:\n{bundle}");
        Ok(said)
    }

    /// Waits until this many hosts are connected and have applied what they should.
    pub fn wait_in_force(&self, hosts: usize, limit: Duration) -> Result<()> {
        let mut last = String::new();
        let waited = wait::until("every host has applied the last revision", limit, || {
            let status = match self.json(&["status"]) {
                Ok(status) => status,
                Err(error) => {
                    last = format!("{error:#}");
                    return None;
                }
            };
            last = status.to_string();
            (hosts_in_force(&status) >= hosts).then_some(())
        });
        waited.with_context(|| format!("the status was {}", shorten(&last)))
    }
}

/// Hosts that have applied what they should and hold no error, in the answer of `status -o json`.
fn hosts_in_force(status: &Value) -> usize {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().unwrap_or(0),
        other => other.as_u64().unwrap_or(0),
    };
    let in_force = |host: &&Value| {
        let error = host.get("error").and_then(Value::as_str).unwrap_or_default();
        let of = |key: &str| host.get(key).map_or(0, number);
        let connected = host.get("connected").and_then(Value::as_bool) == Some(true);
        connected && error.is_empty() && of("appliedRevision") >= of("wantedRevision")
    };
    let hosts = status.get("hosts").and_then(Value::as_array);
    hosts.map_or(0, |hosts| hosts.iter().filter(in_force).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_that_are_up_to_date_are_in_force() {
        let status = serde_json::json!({"revision": "7", "hosts": [
            {"host": "hosts/h1", "connected": true, "wantedRevision": "7", "appliedRevision": "7"},
            {"host": "hosts/h2", "connected": true, "wantedRevision": "7", "appliedRevision": "6"},
            {"host": "hosts/h3", "connected": false, "wantedRevision": "7", "appliedRevision": "7"},
            {"host": "hosts/h4", "connected": true, "wantedRevision": "7", "appliedRevision": "7", "error": "full"},
        ]});
        assert_eq!(hosts_in_force(&status), 1);
        assert_eq!(hosts_in_force(&serde_json::json!({})), 0);
    }
}
