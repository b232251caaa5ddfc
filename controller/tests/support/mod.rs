//! A controller in this process, on loopback, and clients for it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests; each file uses a part of it"
)]

pub mod bundle;
pub mod collector;
pub mod host;
pub mod issuer;
pub mod pki;
pub mod program;
pub mod raw;
pub mod tls;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use andromede_controller::{
    server::{ServeError, Server},
    settings::{ServeArgs, TokenArgs},
    store::{Store, StoreError},
};
use andromede_proto::v1::{
    ApplyRequest, ApplyResponse, GetStatusRequest, HostStatus, Resource, fabric_service_client::FabricServiceClient,
};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{Status, transport::Channel};

/// A running controller. Dropped without [`Controller::stop`], it ends with the test's runtime.
pub struct Controller {
    pub address: SocketAddr,
    store: PathBuf,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

pub fn plaintext(store: &Path) -> ServeArgs {
    ServeArgs {
        listen: "127.0.0.1:0".parse().unwrap(),
        metrics_listen: None,
        metrics_usage: false,
        store: store.to_path_buf(),
        tls_cert: None,
        tls_key: None,
        client_ca: None,
        host_ca: None,
        host_ca_key: None,
        host_certificate_seconds: 3_600,
        otlp: None,
        otlp_ca: None,
        tokens: TokenArgs::default(),
        insecure_plaintext: true,
    }
}

impl Controller {
    pub async fn start(arguments: &ServeArgs) -> Self {
        let server = Server::bind(arguments).await.unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async move { drop(stopped.await) }));
        Self { address, store: arguments.store.clone(), stop, task }
    }

    pub async fn plaintext(store: &Path) -> Self {
        Self::start(&plaintext(store)).await
    }

    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
        // A program closes its store when it ends. Here the last of its tasks does, a moment later.
        for _ in 0..500 {
            match Store::open(&self.store) {
                Err(StoreError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => return,
            }
        }
        panic!("a task of the controller keeps its store open");
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub async fn fabric(&self) -> FabricServiceClient<Channel> {
        FabricServiceClient::new(self.channel().await)
    }

    pub async fn apply(&self, resources: Vec<Resource>) -> Result<ApplyResponse, Status> {
        let request = ApplyRequest { resources, validate_only: false, ..Default::default() };
        Ok(self.fabric().await.apply(request).await?.into_inner())
    }

    pub async fn status(&self, host: &str) -> HostStatus {
        let status = self.fabric().await.get_status(GetStatusRequest {}).await.unwrap().into_inner();
        status.hosts.into_iter().find(|status| status.host == host).unwrap()
    }

    /// Waits until the host has reported all that it should have applied.
    pub async fn in_force(&self, host: &str) -> HostStatus {
        for _ in 0..200 {
            let status = self.status(host).await;
            if status.connected && status.applied_revision >= status.wanted_revision {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("{host} did not apply what it should: {:?}", self.status(host).await);
    }
}
