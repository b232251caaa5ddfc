//! etcd, API server, controllers and scheduler, in the network namespace of the fabric's controller.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use andromede_testkit::{Namespace, Process, fabric::Control, wait};
use anyhow::{Context as _, Result};

use super::{cache::Cache, kubectl::Kubectl};
use crate::workspace;

/// TCP port of the API server.
const PORT: u16 = 6443;
/// Where Services have their addresses.
const SERVICES: &str = "10.96.0.0/16";
/// How long the API server may take to begin.
const START: Duration = Duration::from_mins(2);

/// The control plane. It ends with this value.
#[derive(Debug)]
pub(super) struct ControlPlane {
    // Ended in this order.
    scheduler: Process,
    controllers: Process,
    api: Process,
    _etcd: Process,
    folder: PathBuf,
}

impl ControlPlane {
    /// Starts everything; the API server answers when this returns.
    pub(super) fn start(cache: &Cache, namespace: &Namespace, folder: PathBuf) -> Result<(Self, Kubectl)> {
        fs::create_dir_all(folder.join("certificates"))?;
        let key = folder.join("accounts.key");
        let mut openssl = Command::new("openssl");
        openssl.args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"]).arg(&key);
        workspace::run(&mut openssl)?;
        fs::write(folder.join("tokens.csv"), "administrator,administrator,administrator,system:masters\n")?;
        let authority = folder.join("certificates/apiserver.crt");
        let kubeconfig = folder.join("kubeconfig");
        fs::write(&kubeconfig, kubeconfig_of(&authority, "administrator"))?;
        let kubectl = Kubectl::new(cache.debian("kubectl"), namespace.clone(), kubeconfig.clone());

        let start = |name: &str, program: PathBuf, arguments: &[String]| {
            let mut command = namespace.command(program);
            command.args(arguments).current_dir(&folder);
            Process::start(command, &folder.join(format!("{name}.log")))
        };
        let etcd = start("etcd", cache.debian("etcd"), &etcd_arguments(&folder))?;
        let mut api = start("api", cache.program("kube-apiserver"), &api_arguments(&folder, &key))?;
        let ready = || {
            let ended = api.check().err().map(Err);
            ended.or_else(|| kubectl.run(&["get", "--raw", "/readyz"]).ok().map(|_| Ok(())))
        };
        wait::until("the API server is ready", START, ready).with_context(|| api.tail())??;
        let by = |arguments: &[&str]| -> Vec<String> {
            let common = [format!("--kubeconfig={}", kubeconfig.display()), "--leader-elect=false".to_owned()];
            common.into_iter().chain(arguments.iter().map(|it| (*it).to_owned())).collect()
        };
        let controllers = by(&[
            &format!("--service-account-private-key-file={}", key.display()),
            &format!("--root-ca-file={}", authority.display()),
            &format!("--cert-dir={}", folder.join("controllers").display()),
            // A pod of a node that is gone is another's soon: tests wait for it.
            "--pod-eviction-timeout=10s",
        ]);
        let controllers = start("controllers", cache.program("kube-controller-manager"), &controllers)?;
        let scheduler = start("scheduler", cache.program("kube-scheduler"), &by(&[]))?;
        Ok((Self { scheduler, controllers, api, _etcd: etcd, folder }, kubectl))
    }

    /// Where the API server is, as nodes and operators reach it.
    pub(super) fn address() -> (String, u16) {
        (Control::address().to_string(), PORT)
    }

    /// The authority of the API server's certificate.
    pub(super) fn authority(&self) -> PathBuf {
        self.folder.join("certificates/apiserver.crt")
    }

    /// The configuration of the administrator.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// An error if a part of it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        self.scheduler.check()?;
        self.controllers.check()?;
        self.api.check()
    }
}

fn etcd_arguments(folder: &Path) -> Vec<String> {
    let (clients, peers) = ("http://127.0.0.1:12379", "http://127.0.0.1:12380");
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
        // Nothing of it outlives the run.
        "--unsafe-no-fsync".to_owned(),
    ]
}

fn api_arguments(folder: &Path, key: &Path) -> Vec<String> {
    let key = key.display();
    vec![
        "--etcd-servers=http://127.0.0.1:12379".to_owned(),
        format!("--cert-dir={}", folder.join("certificates").display()),
        format!("--secure-port={PORT}"),
        "--bind-address=0.0.0.0".to_owned(),
        format!("--advertise-address={}", Control::address()),
        format!("--token-auth-file={}", folder.join("tokens.csv").display()),
        // Whoever is no administrator may do what the manifests grant.
        "--authorization-mode=RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
    ]
}

/// A configuration for whoever has this token.
fn kubeconfig_of(authority: &Path, token: &str) -> String {
    let (address, port) = ControlPlane::address();
    let cluster =
        serde_json::json!({"server": format!("https://{address}:{port}"), "certificate-authority": authority});
    serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "lab", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
    })
    .to_string()
}
