//! `kubectl`, as the administrator.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use andromede_testkit::Namespace;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// `kubectl` of the cluster, where the API server is reached.
#[derive(Clone, Debug)]
pub(super) struct Kubectl {
    program: PathBuf,
    namespace: Namespace,
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(super) const fn new(program: PathBuf, namespace: Namespace, kubeconfig: PathBuf) -> Self {
        Self { program, namespace, kubeconfig }
    }

    /// The bare command.
    pub(super) fn command(&self) -> Command {
        let mut command = self.namespace.command(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--request-timeout=20s").stdin(Stdio::null());
        command
    }

    /// Runs it, and returns what it printed; an error if it fails.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command().args(arguments).output().context("starting kubectl")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`kubectl {}` failed: {}", arguments.join(" "), stderr.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it with `-o json`, and reads the answer.
    pub(super) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("`kubectl {}` printed {text:?}", arguments.join(" ")))
    }

    /// Applies objects, in JSON or YAML.
    pub(super) fn apply(&self, objects: &str) -> Result<()> {
        let mut command = self.command();
        command.args(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(objects.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`kubectl apply` failed: {}\nof:\n{objects}", stderr.trim());
        Ok(())
    }

    /// Runs a command line in the shell of a pod; its output, and whether it ended well.
    pub(super) fn shell(&self, namespace: &str, pod: &str, line: &str) -> Result<(bool, String)> {
        let mut command = self.command();
        command.args(["exec", "--namespace", namespace, pod, "--", "sh", "-c", line]);
        let output = command.output().context("starting kubectl")?;
        let text = [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).concat();
        Ok((output.status.success(), text))
    }
}
