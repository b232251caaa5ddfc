//! The unix socket for this host's root: the CNI plugin and `andromedectl host`.

mod pods;

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use andromede_dataplane::PROVENANCE;
use andromede_proto::{
    local::v1::{
        AttachPortRequest, AttachPortResponse, DetachPortRequest, DetachPortResponse, GetHostStatusRequest,
        GetHostStatusResponse, LocalPort,
        local_service_server::{LocalService, LocalServiceServer},
        pod_service_server::PodServiceServer,
    },
    v1::{
        ListDropsRequest, ListDropsResponse, ListFlowsRequest, ListFlowsResponse, ListRuleEventsRequest,
        ListRuleEventsResponse, ListRuleHitsRequest, ListRuleHitsResponse,
    },
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use self::pods::PodCalls;
use crate::{
    diagnostics::{Diagnostics, DiagnosticsError},
    pods::Pods,
    shared::Shared,
    workloads::{WorkloadError, Workloads},
};

/// Serves the socket until `stop`.
pub async fn serve(
    socket: Socket,
    service: Local,
    pods: Arc<Pods>,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let incoming = UnixListenerStream::new(socket.listener);
    Server::builder()
        .add_service(LocalServiceServer::new(service))
        .add_service(PodServiceServer::new(PodCalls::new(pods)))
        .serve_with_incoming_shutdown(incoming, stop)
        .await
}

/// The bound socket.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
}

impl Socket {
    /// Binds the socket for root alone. It appears under its name only once nobody else may connect; one that a dead agent left is replaced.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let temporary = PathBuf::from(format!("{}.new", path.display()));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&temporary)?;
        std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&temporary, path)?;
        Ok(Self { listener })
    }
}

/// The service.
#[derive(Debug)]
pub struct Local {
    shared: Arc<Shared>,
    workloads: Arc<Workloads>,
    diagnostics: Arc<Diagnostics>,
}

impl Local {
    /// Of this agent.
    pub fn new(shared: Arc<Shared>, workloads: Arc<Workloads>, diagnostics: Arc<Diagnostics>) -> Self {
        Self { shared, workloads, diagnostics }
    }
}

fn workload_status(error: &WorkloadError) -> Status {
    let text = error.to_string();
    match error {
        WorkloadError::BadInterface(_) | WorkloadError::Netns(_) => Status::invalid_argument(text),
        WorkloadError::NotPlaced { .. }
        | WorkloadError::Elsewhere { .. }
        | WorkloadError::Leased { .. }
        | WorkloadError::InTheWay { .. } => Status::failed_precondition(text),
        WorkloadError::NotReady { .. } => Status::unavailable(text),
        WorkloadError::Veth(_) | WorkloadError::Netlink(_) | WorkloadError::Disk(_) => Status::internal(text),
    }
}

fn diagnostics_status(error: &DiagnosticsError) -> Status {
    let text = error.to_string();
    match error {
        DiagnosticsError::NotLoaded | DiagnosticsError::Busy | DiagnosticsError::Stopping => Status::unavailable(text),
        DiagnosticsError::NotHeld(_) => Status::not_found(text),
        DiagnosticsError::Unknown => Status::unimplemented(text),
        DiagnosticsError::Table(_)
        | DiagnosticsError::Meter(_)
        | DiagnosticsError::Sweep(_)
        | DiagnosticsError::Clock(_) => Status::internal(text),
    }
}

/// Reads tables off the runtime's threads.
async fn ask<T: Send + 'static>(
    diagnostics: &Arc<Diagnostics>,
    question: impl FnOnce(&Diagnostics) -> Result<T, DiagnosticsError> + Send + 'static,
) -> Result<Response<T>, Status> {
    let diagnostics = Arc::clone(diagnostics);
    let answer = tokio::task::spawn_blocking(move || question(&diagnostics)).await;
    answer
        .map_err(|_| DiagnosticsError::Stopping)
        .flatten()
        .map(Response::new)
        .map_err(|error| diagnostics_status(&error))
}

#[tonic::async_trait]
impl LocalService for Local {
    async fn attach_port(&self, request: Request<AttachPortRequest>) -> Result<Response<AttachPortResponse>, Status> {
        let request = request.into_inner();
        let attached = self.workloads.attach(&request.port, &request.netns, &request.interface).await;
        attached.map(Response::new).map_err(|error| workload_status(&error))
    }

    async fn detach_port(&self, request: Request<DetachPortRequest>) -> Result<Response<DetachPortResponse>, Status> {
        let detached = self.workloads.detach(&request.into_inner().port).await;
        detached.map(|()| Response::new(DetachPortResponse {})).map_err(|error| workload_status(&error))
    }

    async fn get_host_status(
        &self,
        _: Request<GetHostStatusRequest>,
    ) -> Result<Response<GetHostStatusResponse>, Status> {
        let progress = self.shared.progress().borrow().clone();
        let contact = self.shared.contact();
        let trouble = progress.trouble();
        let error = if trouble.is_empty() { contact.error } else { trouble };
        Ok(Response::new(GetHostStatusResponse {
            host: self.shared.config.host.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            connected: contact.connected,
            applied_revision: progress.applied_revision,
            error,
            ports: self.ports(),
            attachment: progress.attachment,
            programs: PROVENANCE.to_owned(),
        }))
    }

    async fn list_drops(&self, request: Request<ListDropsRequest>) -> Result<Response<ListDropsResponse>, Status> {
        let request = request.into_inner();
        ask(&self.diagnostics, move |diagnostics| diagnostics.drops(&request)).await
    }

    async fn list_flows(&self, request: Request<ListFlowsRequest>) -> Result<Response<ListFlowsResponse>, Status> {
        let request = request.into_inner();
        ask(&self.diagnostics, move |diagnostics| diagnostics.flows(&request)).await
    }

    async fn list_rule_events(
        &self,
        request: Request<ListRuleEventsRequest>,
    ) -> Result<Response<ListRuleEventsResponse>, Status> {
        let request = request.into_inner();
        ask(&self.diagnostics, move |diagnostics| diagnostics.rule_events(&request)).await
    }

    async fn list_rule_hits(
        &self,
        request: Request<ListRuleHitsRequest>,
    ) -> Result<Response<ListRuleHitsResponse>, Status> {
        let request = request.into_inner();
        ask(&self.diagnostics, move |diagnostics| diagnostics.rule_hits(&request)).await
    }
}

impl Local {
    /// Ports placed on this host, and those that are attached although they are not.
    fn ports(&self) -> Vec<LocalPort> {
        let names = self.diagnostics.names();
        let placed = self.shared.placed();
        let local = |(name, addresses): (&String, &Vec<IpAddr>)| {
            let addresses = addresses.iter().map(ToString::to_string).collect();
            (name.clone(), LocalPort { addresses, ..LocalPort::default() })
        };
        let mut ports: BTreeMap<String, LocalPort> = placed.iter().map(local).collect();
        for (port, workload) in self.shared.attached() {
            let entry = ports.entry(port).or_default();
            entry.host_interface = workload.host_interface;
            entry.netns = workload.netns.display().to_string();
            entry.attached = true;
        }
        let named = ports.into_iter().map(|(name, port)| LocalPort {
            slot: names.slot(&name).unwrap_or(0),
            port: name,
            ..port
        });
        named.collect()
    }
}
