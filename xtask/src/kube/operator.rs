//! The operator of the cluster, with the account of its manifest and as a pod of the cluster finds the API server.

use std::{fs, path::Path};

use andromede_testkit::{
    Process,
    fabric::{Control, binary},
    pins::Pins,
};
use anyhow::{Context as _, Result};
use nix::{
    mount::{MsFlags, mount},
    sys::signal::Signal,
};

use super::{
    cluster::{NETWORK, TENANT},
    control_plane::ControlPlane,
    kubectl::Kubectl,
};
use crate::workspace;

/// Namespace of everything that the manifests make.
pub(super) const NAMESPACE: &str = "andromede-system";
/// Account of the operator, in the manifest and in the fabric.
const ACCOUNT: &str = "andromede-operator";
/// Its user of the fabric.
const USER: &str = "cluster";

/// An operator that runs.
#[derive(Debug)]
pub(super) struct Operator {
    process: Process,
    _mounts: Pins,
}

/// Makes the account that operators have: in the cluster by the manifest, in the fabric as an administrator of the tenant.
pub(super) fn make_account(kubectl: &Kubectl, control: &Control) -> Result<()> {
    kubectl.run(&["create", "namespace", NAMESPACE])?;
    let manifest = workspace::root().join("packaging/kubernetes/operator-rbac.yaml");
    kubectl.apply(&fs::read_to_string(&manifest).with_context(|| format!("reading {}", manifest.display()))?)?;
    control.user(USER, &["--role", "tenant-admin", "--tenant", TENANT])
}

impl Operator {
    /// Starts one of this name; its things come into the folder.
    pub(super) fn start(
        kubectl: &Kubectl,
        plane: &ControlPlane,
        control: &Control,
        folder: &Path,
        name: &str,
    ) -> Result<Self> {
        let folder = folder.join(name);
        fs::create_dir_all(folder.join("bpf"))?;
        let mounts = Pins::new(&folder.join("bpf"))?;
        let token = token(kubectl)?;
        mounts.run(|| lay_account(&token, &plane.authority()))??;
        let mut command = control.namespace().command(binary("andromede-operator")?);
        mounts.enter(&mut command);
        let (address, port) = ControlPlane::address();
        command.env("KUBERNETES_SERVICE_HOST", address).env("KUBERNETES_SERVICE_PORT", port.to_string());
        command.args(["--network", NETWORK, "--controller", &Control::url()]);
        command.args(["--lease-namespace", NAMESPACE, "--identity", name]);
        command.arg("--tls-ca").arg(control.authority());
        command
            .arg("--tls-cert")
            .arg(control.certificate("user", USER))
            .arg("--tls-key")
            .arg(control.key("user", USER));
        Ok(Self { process: Process::start(command, &folder.join("log"))?, _mounts: mounts })
    }

    /// Ends it by a signal.
    pub(super) fn end(mut self, signal: Signal) -> Result<()> {
        self.process.end(signal).map(drop)
    }

    /// An error if it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    /// What it wrote last.
    pub(super) fn tail(&self) -> String {
        self.process.tail()
    }
}

/// Who leads, as the Lease says.
pub(super) fn leader(kubectl: &Kubectl) -> Option<String> {
    let lease = kubectl.json(&["get", "lease", ACCOUNT, "--namespace", NAMESPACE]).ok()?;
    lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

/// The token of the account, once the cluster has made it.
fn token(kubectl: &Kubectl) -> Result<String> {
    let find = || -> Option<String> {
        let account = kubectl.json(&["get", "serviceaccount", ACCOUNT, "--namespace", NAMESPACE]).ok()?;
        let secret = account["secrets"][0]["name"].as_str()?.to_owned();
        let template = "-o=go-template={{.data.token | base64decode}}";
        kubectl
            .run(&["get", "secret", &secret, "--namespace", NAMESPACE, template])
            .ok()
            .filter(|token| !token.is_empty())
    };
    andromede_testkit::wait::until("the account of the operator has a token", std::time::Duration::from_mins(1), find)
}

/// Lays the token and the authority where a pod has them, for those in this mount namespace.
fn lay_account(token: &str, authority: &Path) -> Result<()> {
    let authority = fs::read(authority).with_context(|| format!("reading {}", authority.display()))?;
    let none = None::<&str>;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).context("mounting over /run")?;
    let folder = Path::new("/run/secrets/kubernetes.io/serviceaccount");
    fs::create_dir_all(folder)?;
    fs::write(folder.join("token"), token)?;
    fs::write(folder.join("ca.crt"), authority)?;
    fs::write(folder.join("namespace"), NAMESPACE)?;
    Ok(())
}
