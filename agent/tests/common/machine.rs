//! A host with an agent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use andromede_dataplane::{Sizes, Tables};
use andromede_proto::local::v1::{
    AttachPortRequest, GetHostStatusRequest, GetHostStatusResponse, local_service_client::LocalServiceClient,
};
use andromede_testkit::{Namespace, Process, pins::Pins, requires};
use nix::sys::signal::Signal;
use tokio::{
    net::{TcpListener, UnixStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use tonic::transport::{Channel, Endpoint};

use super::{
    PATIENCE, Session, serve,
    views::{NETWORK, snapshot},
};

/// A host with an uplink, an agent, and the controller that the test plays.
pub(crate) struct Machine {
    pub(crate) process: Option<Process>,
    sessions: mpsc::Receiver<Session>,
    url: String,
    attachment: &'static str,
    pub(crate) namespace: Namespace,
    _other: Namespace,
    pub(crate) pins: Pins,
    pub(crate) folder: tempfile::TempDir,
}

impl Machine {
    pub(crate) async fn new(attachment: &'static str) -> Self {
        requires::require(&["ip", "tc", "ping"]).unwrap();
        let (namespace, other) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        andromede_testkit::namespace::veth(&namespace, "up0", &other, "up0", 1600).unwrap();
        namespace.ip("address add 192.0.2.1/24 dev up0").unwrap();
        let listener = namespace.run(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, sessions) = mpsc::channel(8);
        tokio::spawn(serve(listener, sender));
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bpf")).unwrap();
        let pins = Pins::new(&folder.path().join("bpf")).unwrap();
        let mut machine = Self { process: None, sessions, url, attachment, namespace, _other: other, pins, folder };
        machine.start().await;
        machine
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    pub(crate) fn command(&self, verb: &str) -> std::process::Command {
        let mut command = self.namespace.command(env!("CARGO_BIN_EXE_andromede-agent"));
        self.pins.enter(&mut command);
        command.arg(verb).args(["--instance", "test"]);
        command.arg("--bpffs").arg(self.folder.path().join("bpf"));
        command.arg("--state").arg(self.folder.path().join("state"));
        command
    }

    pub(crate) fn run_command(&self) -> std::process::Command {
        let mut command = self.command("run");
        command.args(["--host", "h1", "--controller", &self.url, "--insecure-plaintext", "--underlay", "up0"]);
        command.arg("--socket").arg(self.socket()).args(["--attachment", self.attachment, "--small-tables"]);
        command
    }

    /// Starts the agent and waits for nothing.
    pub(crate) fn launch(&mut self) {
        let command = self.run_command();
        self.process = Some(Process::start(command, &self.folder.path().join("log")).unwrap());
    }

    /// Starts the agent and waits for its first answer; the programs may not be loaded yet.
    pub(crate) async fn start(&mut self) {
        self.launch();
        let answers = async {
            while self.try_status().await.is_none() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, answers).await.unwrap_or_else(|_| panic!("no answer: {}", self.log()));
    }

    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }

    pub(crate) fn end(&mut self, signal: Signal) {
        self.process.take().unwrap().end(signal).unwrap();
    }

    /// The next session of an agent that still lives: one that was killed may have left its own.
    pub(crate) async fn session(&mut self) -> Session {
        loop {
            let session = timeout(PATIENCE, self.sessions.recv()).await;
            let mut session = session.unwrap_or_else(|_| panic!("the agent does not dial: {}", self.log())).unwrap();
            if session.greet(1).await {
                return session;
            }
        }
    }

    pub(crate) async fn client(&self) -> Option<LocalServiceClient<Channel>> {
        let path = self.socket();
        let connect = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await.ok()?;
        Some(LocalServiceClient::new(channel))
    }

    pub(crate) async fn try_status(&self) -> Option<GetHostStatusResponse> {
        Some(self.client().await?.get_host_status(GetHostStatusRequest {}).await.ok()?.into_inner())
    }

    pub(crate) async fn status(&self) -> GetHostStatusResponse {
        self.try_status().await.unwrap_or_else(|| panic!("no status: {}", self.log()))
    }

    pub(crate) async fn until(&self, what: &str, ready: impl Fn(&GetHostStatusResponse) -> bool) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if ready(&self.status().await) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("{what} never came: {:#?}\n{}", self.status().await, self.log());
    }

    pub(crate) async fn try_attach(
        &self,
        port: &str,
        workload: &Namespace,
        interface: &str,
    ) -> Result<String, tonic::Status> {
        let request = AttachPortRequest {
            port: format!("{NETWORK}/ports/{port}"),
            netns: workload.path().display().to_string(),
            interface: interface.to_owned(),
        };
        Ok(self.client().await.unwrap().attach_port(request).await?.into_inner().host_interface)
    }

    pub(crate) async fn attach(&self, port: &str) -> (Namespace, String) {
        let workload = Namespace::new().unwrap();
        let attached = self.try_attach(port, &workload, "").await;
        let interface = attached.unwrap_or_else(|status| panic!("{status}\n{}", self.log()));
        (workload, interface)
    }

    /// Interfaces that have a port row.
    pub(crate) fn port_rows(&self) -> Vec<u32> {
        let read = || {
            let pins = andromede_dataplane::Pins::new(&self.folder.path().join("bpf"), &"test".parse().unwrap());
            let tables = Tables::open(&pins, &Sizes::small()).unwrap();
            tables.ports.all().unwrap().into_iter().map(|(ifindex, _)| ifindex).collect()
        };
        self.pins.run(read).unwrap()
    }
}

/// A host that has applied revision 1.
pub(crate) async fn ready(attachment: &'static str) -> (Machine, Session) {
    let mut machine = Machine::new(attachment).await;
    let mut session = machine.session().await;
    session.update(snapshot(1)).await;
    let applied = timeout(PATIENCE, session.applied(1)).await;
    applied.unwrap_or_else(|_| panic!("revision 1 is not applied: {}", machine.log()));
    (machine, session)
}
