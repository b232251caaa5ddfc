//! The part of the Container Runtime Interface, version 1, by which a kubelet has pods made: package `runtime.v1`, with the field numbers of
//! the public API.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{net::UnixStream, runtime::Runtime};
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint, Uri},
};
use tonic_prost::ProstCodec;

/// How long a runtime may take for one call.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Clone, PartialEq, Message)]
struct Empty {}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

/// A port of the host that leads to one of the pod.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct PortMapping {
    /// 0: TCP.
    #[prost(int32, tag = "1")]
    pub protocol: i32,
    /// Port of the pod.
    #[prost(int32, tag = "2")]
    pub container_port: i32,
    /// Port of the host.
    #[prost(int32, tag = "3")]
    pub host_port: i32,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Metadata>,
    #[prost(string, tag = "2")]
    hostname: String,
    #[prost(string, tag = "3")]
    log_directory: String,
    #[prost(message, repeated, tag = "5")]
    port_mappings: Vec<PortMapping>,
    #[prost(btree_map = "string, string", tag = "7")]
    annotations: BTreeMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandbox {
    #[prost(message, optional, tag = "1")]
    config: Option<SandboxConfig>,
    #[prost(string, tag = "2")]
    runtime_handler: String,
}

/// A request about one thing, or an answer that names it.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Network {
    #[prost(string, tag = "1")]
    ip: String,
    #[prost(message, repeated, tag = "2")]
    additional: Vec<Id>,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxStatus {
    #[prost(message, optional, tag = "5")]
    network: Option<Network>,
}

#[derive(Clone, PartialEq, Message)]
struct StatusAnswer {
    #[prost(message, optional, tag = "1")]
    status: Option<SandboxStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Metadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<Id>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
    #[prost(string, tag = "11")]
    log_path: String,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainer {
    #[prost(string, tag = "1")]
    sandbox: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox_config: Option<SandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct ExecSync {
    #[prost(string, tag = "1")]
    container: String,
    #[prost(string, repeated, tag = "2")]
    command: Vec<String>,
    #[prost(int64, tag = "3")]
    timeout: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ExecAnswer {
    #[prost(bytes = "vec", tag = "1")]
    output: Vec<u8>,
    #[prost(int32, tag = "3")]
    exit_code: i32,
}

/// A pod's sandbox.
#[derive(Clone, Debug)]
pub struct Sandbox {
    id: String,
    config: SandboxConfig,
}

/// What a sandbox is to be.
#[derive(Clone, Debug, Default)]
pub struct Wish<'a> {
    /// Its name; those of one runtime differ.
    pub name: &'a str,
    /// The runtime's handler, of which each has its own network.
    pub handler: &'a str,
    /// Ports of the host.
    pub ports: Vec<PortMapping>,
}

/// A runtime behind its socket.
#[derive(Debug)]
pub struct Cri {
    runtime: Runtime,
    channel: Channel,
    logs: PathBuf,
    /// Those that were not removed.
    sandboxes: Mutex<Vec<Sandbox>>,
}

impl Cri {
    /// Connects to the socket. What containers write goes to the folder `logs`.
    pub fn connect(socket: &Path, logs: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost").timeout(PATIENCE);
        let channel = runtime.block_on(endpoint.connect_with_connector(connector))?;
        Ok(Self { runtime, channel, logs: logs.to_owned(), sandboxes: Mutex::default() })
    }

    fn call<Q, A>(&self, method: &str, question: Q) -> Result<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path: PathAndQuery = format!("/runtime.v1.RuntimeService/{method}").parse()?;
        let mut grpc = Grpc::new(self.channel.clone());
        let answer = self.runtime.block_on(async {
            grpc.ready().await?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.unary(Request::new(question), path, codec).await.map_err(|status| anyhow!("{}", status.message()))
        });
        Ok(answer.with_context(|| method.to_owned())?.into_inner())
    }

    /// Does it answer?
    pub fn is_ready(&self) -> bool {
        self.call::<_, Empty>("Version", Empty {}).is_ok()
    }

    /// Makes a sandbox, with its network.
    pub fn run(&self, wish: &Wish<'_>) -> Result<Sandbox> {
        let name = wish.name.to_owned();
        let metadata = Metadata { name: name.clone(), uid: format!("uid-{name}"), namespace: "tests".to_owned() };
        let config = SandboxConfig {
            metadata: Some(metadata),
            hostname: name,
            log_directory: self.logs.display().to_string(),
            port_mappings: wish.ports.clone(),
            annotations: BTreeMap::from([("example.org/note".to_owned(), "passed on".to_owned())]),
            linux: Some(LinuxConfig { cgroup_parent: String::new() }),
        };
        let request = RunPodSandbox { config: Some(config.clone()), runtime_handler: wish.handler.to_owned() };
        let Id { id } = self.call("RunPodSandbox", request)?;
        let sandbox = Sandbox { id, config };
        self.sandboxes().push(sandbox.clone());
        Ok(sandbox)
    }

    fn sandboxes(&self) -> MutexGuard<'_, Vec<Sandbox>> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes every sandbox that is there still. Goes on after an error.
    pub fn remove_all(&self) -> Result<()> {
        let left: Vec<Sandbox> = self.sandboxes().clone();
        left.iter().map(|sandbox| self.remove(sandbox)).fold(Ok(()), Result::and)
    }

    /// The addresses of a sandbox, as its runtime tells them.
    pub fn addresses(&self, sandbox: &Sandbox) -> Result<Vec<IpAddr>> {
        let answer: StatusAnswer = self.call("PodSandboxStatus", Id { id: sandbox.id.clone() })?;
        let network = answer.status.and_then(|status| status.network).context("the sandbox has no network")?;
        let texts = std::iter::once(network.ip).chain(network.additional.into_iter().map(|ip| ip.id));
        texts.map(|text| text.parse().with_context(|| format!("the address {text:?}"))).collect()
    }

    /// Starts a command of an image in a sandbox; the container's id.
    pub fn start(&self, sandbox: &Sandbox, image: &str, name: &str, command: &[&str]) -> Result<String> {
        let config = ContainerConfig {
            metadata: Some(Metadata { name: name.to_owned(), ..Metadata::default() }),
            image: Some(Id { id: image.to_owned() }),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            log_path: format!("{}-{name}.log", sandbox.config.hostname),
        };
        let (id, sandbox_config) = (sandbox.id.clone(), Some(sandbox.config.clone()));
        let request = CreateContainer { sandbox: id, config: Some(config), sandbox_config };
        let container: Id = self.call("CreateContainer", request)?;
        let _: Empty = self.call("StartContainer", container.clone())?;
        Ok(container.id)
    }

    /// Runs a command in a container to its end: exit code, and what it wrote.
    pub fn exec(&self, container: &str, command: &[&str]) -> Result<(i32, String)> {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let request = ExecSync { container: container.to_owned(), command, timeout: 20 };
        let answer: ExecAnswer = self.call("ExecSync", request)?;
        Ok((answer.exit_code, String::from_utf8_lossy(&answer.output).into_owned()))
    }

    /// Ends a sandbox and all in it, and removes it.
    pub fn remove(&self, sandbox: &Sandbox) -> Result<()> {
        let id = Id { id: sandbox.id.clone() };
        let _: Empty = self.call("StopPodSandbox", id.clone())?;
        let _: Empty = self.call("RemovePodSandbox", id)?;
        self.sandboxes().retain(|other| other.id != sandbox.id);
        Ok(())
    }
}
