//! What concerns the whole fabric: bundles, the stream of commits, how far the hosts are.

use std::{fmt, sync::Arc};

use andromede_model::{AnyName, Resource, ResourceKind, limits};
use andromede_proto::{
    convert,
    v1::{
        ApplyRequest, ApplyResponse, GetStatusRequest, GetStatusResponse, HostStatus, ResourceChange, WatchRequest,
        WatchResponse, fabric_service_server::FabricService, resource_change,
    },
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{broken, watch::Watcher};
use crate::{
    access::caller,
    errors,
    publish::Publisher,
    registry::Registry,
    store::Store,
    writer::{Effect, Writer},
};

/// The service over the writer, the published state and the log.
#[derive(Clone)]
pub struct Fabric {
    /// Where writes go.
    pub writer: Writer,
    /// The published state.
    pub publisher: Arc<Publisher>,
    /// Which hosts are there.
    pub registry: Arc<Registry>,
    /// The log, for watchers.
    pub store: Arc<Store>,
    /// Becomes true when the controller ends.
    pub stop: watch::Receiver<bool>,
}

impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fabric").finish_non_exhaustive()
    }
}

fn kind(effect: Effect) -> resource_change::Kind {
    match effect {
        Effect::Created => resource_change::Kind::Created,
        Effect::Updated => resource_change::Kind::Updated,
        Effect::Unchanged => resource_change::Kind::Unchanged,
        Effect::Deleted => resource_change::Kind::Deleted,
    }
}

/// The names of what a bundle deletes, or everything that is wrong with them.
fn names(texts: &[String]) -> Result<Vec<AnyName>, Status> {
    if texts.len() > limits::RESOURCES_PER_WRITE {
        let rule = format!("a write deletes at most {} resources", limits::RESOURCES_PER_WRITE);
        return Err(broken("deleted", texts.len(), &rule, "delete them in several calls"));
    }
    let mut violations = Vec::new();
    let mut names = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match text.parse::<AnyName>() {
            Ok(name) => names.push(name),
            Err(error) => violations.push(error.violation(format!("deleted[{index}]"))),
        }
    }
    if violations.is_empty() { Ok(names) } else { Err(errors::invalid(&violations)) }
}

#[tonic::async_trait]
impl FabricService for Fabric {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let principal = caller(&request)?;
        let ApplyRequest { resources, validate_only, deleted } = request.into_inner();
        let resources = convert::resources(resources).map_err(|violations| errors::invalid(&violations))?;
        let deleted = names(&deleted)?;
        let written = self.writer.write(principal, resources, deleted, validate_only).await?;
        let change =
            |(name, effect): (AnyName, Effect)| ResourceChange { kind: kind(effect).into(), name: name.to_string() };
        let changes = written.effects.into_iter().map(change).collect();
        Ok(Response::new(ApplyResponse { revision: written.revision, changes }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let after = request.into_inner().after_revision;
        let head = self.publisher.model().revision();
        if after > head {
            let rule = format!("the last revision is {head}");
            return Err(broken("after_revision", after, &rule, "watch from 0, which begins with the whole state"));
        }
        let (out, stream) = mpsc::channel(1);
        let watcher = Watcher {
            store: Arc::clone(&self.store),
            publisher: Arc::clone(&self.publisher),
            stop: self.stop.clone(),
            out,
        };
        tokio::spawn(watcher.run(after));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let model = self.publisher.model();
        let hosts = model.all(ResourceKind::Host).filter_map(|resource| match resource {
            Resource::Host(host) => Some(self.host_status(&host.name)),
            _ => None,
        });
        Ok(Response::new(GetStatusResponse { revision: model.revision(), hosts: hosts.collect() }))
    }
}

impl Fabric {
    fn host_status(&self, host: &andromede_model::HostName) -> HostStatus {
        let (wanted_revision, ports) = self.publisher.wanted(host);
        let state = self.registry.state(host.as_str());
        HostStatus {
            host: host.to_string(),
            connected: state.connected,
            last_seen_seconds: state.last_seen_seconds,
            wanted_revision,
            applied_revision: state.applied_revision,
            error: state.error,
            version: state.version,
            ports: ports as u32,
            ports_attached: state.ports_attached,
        }
    }
}
