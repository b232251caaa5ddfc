//! A controller and an agent that remember what they were asked and give prepared answers.

pub(crate) mod run;

use std::{
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    thread,
};

use andromede_proto::{
    local::v1::{
        AttachPortRequest, AttachPortResponse, DetachPortRequest, DetachPortResponse, GetHostStatusRequest,
        GetHostStatusResponse, LocalPort,
        local_service_server::{LocalService, LocalServiceServer},
    },
    v1::{
        self, ApplyRequest, ApplyResponse, DeleteRequest, GetRequest, GetStatusRequest, GetStatusResponse,
        ListDropsRequest, ListDropsResponse, ListFlowsRequest, ListFlowsResponse, ListPortsResponse, ListRequest, Port,
        ResourceChange, TraceRequest, TraceResponse, WatchRequest, WatchResponse, WriteResponse,
        diagnostics_service_server::{DiagnosticsService, DiagnosticsServiceServer},
        fabric_service_server::{FabricService, FabricServiceServer},
        port_service_server::{PortService, PortServiceServer},
    },
};
use tokio_stream::{
    Stream,
    wrappers::{TcpListenerStream, UnixListenerStream},
};
use tonic::{Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What was asked, as text.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

/// The controller and the agent in one.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    /// What was asked.
    pub(crate) log: Log,
}

impl Fake {
    fn remember(&self, asked: impl std::fmt::Debug) {
        self.log.lock().unwrap().push(format!("{asked:?}"));
    }

    /// Serves the API on loopback until the test ends.
    pub(crate) fn serve(&self) -> SocketAddr {
        let fake = self.clone();
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                Server::builder()
                    .add_service(FabricServiceServer::new(fake.clone()))
                    .add_service(PortServiceServer::new(fake.clone()))
                    .add_service(DiagnosticsServiceServer::new(fake))
                    .serve_with_incoming(TcpListenerStream::new(listener))
                    .await
                    .unwrap();
            });
        });
        receiver.recv().unwrap()
    }

    /// Serves the agent's socket until the test ends.
    pub(crate) fn serve_socket(&self, path: &Path) {
        let fake = self.clone();
        let path = path.to_owned();
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::bind(path).unwrap();
                sender.send(()).unwrap();
                Server::builder()
                    .add_service(LocalServiceServer::new(fake))
                    .serve_with_incoming(UnixListenerStream::new(listener))
                    .await
                    .unwrap();
            });
        });
        receiver.recv().unwrap();
    }
}

fn ports() -> Vec<Port> {
    let port = |name: &str, address: &str, host: &str| Port {
        name: name.to_owned(),
        addresses: vec![address.to_owned(), format!("fd00:10::{}", address.rsplit('.').next().unwrap())],
        host: host.to_owned(),
        mac: "02:00:00:00:00:01".to_owned(),
        revision: 3,
        ..Default::default()
    };
    vec![
        port("tenants/mairie/networks/intranet/ports/web", "10.0.0.12", "hosts/h1"),
        port("tenants/mairie/networks/intranet/ports/db", "10.0.0.13", "hosts/h2"),
        port("tenants/hopital/networks/soins/ports/web", "10.0.0.12", ""),
    ]
}

#[tonic::async_trait]
impl PortService for Fake {
    async fn get_port(&self, request: Request<GetRequest>) -> Result<Response<Port>, Status> {
        let name = request.into_inner().name;
        let found = ports().into_iter().find(|port| port.name == name);
        found.map(Response::new).ok_or_else(|| Status::not_found(format!("{name}: no such port")))
    }

    /// Two pages.
    async fn list_ports(&self, request: Request<ListRequest>) -> Result<Response<ListPortsResponse>, Status> {
        let request = request.into_inner();
        self.remember(&request);
        let mut found = ports();
        found.retain(|port| {
            let parent: Vec<&str> = request.parent.split('/').collect();
            request.parent.is_empty() || port.name.split('/').zip(parent).all(|(a, b)| b == "-" || a == b)
        });
        let rest = found.split_off(found.len().min(1));
        Ok(Response::new(match request.page_token.as_str() {
            "" => ListPortsResponse { ports: found, next_page_token: "rest".to_owned() },
            _ => ListPortsResponse { ports: rest, next_page_token: String::new() },
        }))
    }

    async fn delete_port(&self, _: Request<DeleteRequest>) -> Result<Response<WriteResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn create_port(&self, _: Request<v1::CreatePortRequest>) -> Result<Response<Port>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn update_port(&self, _: Request<v1::UpdatePortRequest>) -> Result<Response<Port>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    type WatchPortsStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch_ports(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchPortsStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

#[tonic::async_trait]
impl FabricService for Fake {
    /// Creates everything, but refuses the second resource if it is a host.
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let request = request.into_inner();
        self.remember(&request);
        if let Some(v1::resource::Kind::Host(_)) = request.resources.get(1).and_then(|resource| resource.kind.as_ref())
        {
            let details = ErrorDetails::with_bad_request_violation(
                "resources[1].host.underlay_address",
                "\"x\": an IPv4 address; write 192.0.2.1",
            );
            return Err(Status::with_error_details(tonic::Code::InvalidArgument, "1 violation", details));
        }
        let changes = request.resources.iter().map(|resource| {
            let Some(v1::resource::Kind::Tenant(tenant)) = &resource.kind else { panic!("only tenants here") };
            ResourceChange { kind: v1::resource_change::Kind::Created.into(), name: tenant.name.clone() }
        });
        if let Some(name) = request.deleted.iter().find(|name| name.starts_with("tenants/x")) {
            return Err(Status::not_found(format!("{name}: no such port")));
        }
        let deleted = request
            .deleted
            .iter()
            .map(|name| ResourceChange { kind: v1::resource_change::Kind::Deleted.into(), name: name.clone() });
        Ok(Response::new(ApplyResponse { revision: 7, changes: changes.chain(deleted).collect() }))
    }

    async fn plan(&self, _: Request<v1::PlanRequest>) -> Result<Response<v1::PlanResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    /// The second host is behind at the first question, and has caught up at the next; a third is out of touch.
    async fn wait_in_force(&self, request: Request<v1::WaitInForceRequest>) -> Result<Response<v1::InForce>, Status> {
        let asked = self.log.lock().unwrap().iter().filter(|asked| asked.starts_with("WaitInForce")).count();
        let v1::WaitInForceRequest { revision, all, .. } = *request.get_ref();
        self.remember(request.into_inner());
        let behind = v1::HostInForce { host: "hosts/h3".to_owned(), applied_revision: 5, ..Default::default() };
        let (in_force, applied) = if asked == 0 { (false, 1) } else { (!all, 2) };
        let pending = 2 - applied;
        Ok(Response::new(v1::InForce { revision, in_force, applied, pending, out_of_touch: 1, hosts: vec![behind] }))
    }

    type WatchInForceStream = Pin<Box<dyn Stream<Item = Result<v1::InForce, Status>> + Send>>;

    async fn watch_in_force(
        &self,
        _: Request<v1::WatchInForceRequest>,
    ) -> Result<Response<Self::WatchInForceStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    /// The second host is behind.
    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        self.remember(request.into_inner());
        let host = |name: &str, applied_revision| v1::HostStatus {
            host: name.to_owned(),
            connected: true,
            last_seen_seconds: 1,
            wanted_revision: 7,
            applied_revision,
            version: "0.1.0".to_owned(),
            ports: 2,
            ports_attached: 1,
            ..Default::default()
        };
        let hosts = vec![host("hosts/h1", 7), host("hosts/h2", 6)];
        Ok(Response::new(GetStatusResponse { revision: 7, hosts, ..Default::default() }))
    }
}

#[tonic::async_trait]
impl DiagnosticsService for Fake {
    async fn list_drops(&self, request: Request<ListDropsRequest>) -> Result<Response<ListDropsResponse>, Status> {
        self.remember(request.into_inner());
        let count = |reason: &str, packets| v1::DropCount {
            host: "hosts/h2".to_owned(),
            port: "tenants/mairie/networks/intranet/ports/db".to_owned(),
            network: "tenants/mairie/networks/intranet".to_owned(),
            reason: reason.to_owned(),
            rule: "default-ingress".to_owned(),
            packets,
            ..Default::default()
        };
        Ok(Response::new(ListDropsResponse {
            counts: vec![count("ingress-rule", 3), count("spoofed-source", 40)],
            recent: vec![v1::DropEvent {
                host: "hosts/h2".to_owned(),
                reason: "ingress-rule".to_owned(),
                network: "tenants/mairie/networks/intranet".to_owned(),
                protocol: 6,
                source: "10.0.0.11".to_owned(),
                destination: "10.0.0.13".to_owned(),
                destination_port: 80,
                ..Default::default()
            }],
            errors: vec![v1::HostError { host: "hosts/h3".to_owned(), error: "not connected".to_owned() }],
        }))
    }

    async fn list_flows(&self, request: Request<ListFlowsRequest>) -> Result<Response<ListFlowsResponse>, Status> {
        self.remember(request.into_inner());
        Ok(Response::new(ListFlowsResponse::default()))
    }

    async fn list_rule_events(
        &self,
        request: Request<v1::ListRuleEventsRequest>,
    ) -> Result<Response<v1::ListRuleEventsResponse>, Status> {
        self.remember(request.into_inner());
        let event = |rule: &str, action: v1::Action| v1::RuleEvent {
            host: "hosts/h2".to_owned(),
            sequence: 5,
            port: "tenants/mairie/networks/intranet/ports/db".to_owned(),
            network: "tenants/mairie/networks/intranet".to_owned(),
            rule: rule.to_owned(),
            direction: v1::Direction::Ingress.into(),
            action: action.into(),
            protocol: 6,
            source: "10.0.0.11".to_owned(),
            source_port: 49152,
            destination: "10.0.0.13".to_owned(),
            destination_port: 22,
            ..Default::default()
        };
        let port = "tenants/mairie/networks/intranet/ports/db".to_owned();
        Ok(Response::new(v1::ListRuleEventsResponse {
            events: vec![event("servers/ssh", v1::Action::Deny), event("servers/sql", v1::Action::Allow)],
            lost: vec![v1::LostRuleEvents { host: "hosts/h2".to_owned(), port, events: 17 }],
            errors: Vec::new(),
        }))
    }

    async fn list_rule_hits(
        &self,
        request: Request<v1::ListRuleHitsRequest>,
    ) -> Result<Response<v1::ListRuleHitsResponse>, Status> {
        self.remember(request.into_inner());
        let rule = |number: u32, host: &str, hits| v1::RuleHits {
            host: format!("hosts/{host}"),
            owner: "tenants/mairie/networks/intranet/securityGroups/servers".to_owned(),
            rule: format!("servers/r{number}"),
            rule_number: number,
            hits,
        };
        let rules = vec![rule(1024, "h1", 2), rule(1024, "h2", 3), rule(1025, "h1", 0)];
        Ok(Response::new(v1::ListRuleHitsResponse { rules, errors: Vec::new() }))
    }

    async fn trace(&self, request: Request<TraceRequest>) -> Result<Response<TraceResponse>, Status> {
        self.remember(request.into_inner());
        Ok(Response::new(TraceResponse {
            steps: vec![v1::TraceStep {
                host: "hosts/h1".to_owned(),
                hook: "from_workload".to_owned(),
                stage: "parse".to_owned(),
                text: "a SYN".to_owned(),
                ..Default::default()
            }],
            outcome: "dropped".to_owned(),
            reason: "ingress-rule".to_owned(),
            rule: "default-ingress".to_owned(),
            remedy: "allow it".to_owned(),
            ..Default::default()
        }))
    }
}

#[tonic::async_trait]
impl LocalService for Fake {
    async fn attach_port(&self, request: Request<AttachPortRequest>) -> Result<Response<AttachPortResponse>, Status> {
        let request = request.into_inner();
        self.remember(&request);
        Ok(Response::new(AttachPortResponse {
            interface: request.interface,
            host_interface: "an1".to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
            addresses: vec!["10.0.0.12".to_owned()],
            mtu: 1450,
        }))
    }

    async fn detach_port(&self, request: Request<DetachPortRequest>) -> Result<Response<DetachPortResponse>, Status> {
        self.remember(request.into_inner());
        Ok(Response::new(DetachPortResponse {}))
    }

    async fn get_host_status(
        &self,
        _: Request<GetHostStatusRequest>,
    ) -> Result<Response<GetHostStatusResponse>, Status> {
        Ok(Response::new(GetHostStatusResponse {
            host: "hosts/h1".to_owned(),
            ports: vec![LocalPort { port: "tenants/t/networks/n/ports/p".to_owned(), ..Default::default() }],
            ..Default::default()
        }))
    }

    async fn list_drops(&self, _: Request<ListDropsRequest>) -> Result<Response<ListDropsResponse>, Status> {
        Ok(Response::new(ListDropsResponse::default()))
    }

    async fn list_flows(&self, _: Request<ListFlowsRequest>) -> Result<Response<ListFlowsResponse>, Status> {
        Ok(Response::new(ListFlowsResponse::default()))
    }

    async fn list_rule_events(
        &self,
        _: Request<v1::ListRuleEventsRequest>,
    ) -> Result<Response<v1::ListRuleEventsResponse>, Status> {
        Ok(Response::new(v1::ListRuleEventsResponse::default()))
    }

    async fn list_rule_hits(
        &self,
        _: Request<v1::ListRuleHitsRequest>,
    ) -> Result<Response<v1::ListRuleHitsResponse>, Status> {
        Ok(Response::new(v1::ListRuleHitsResponse::default()))
    }
}
