//! What concerns the whole fabric: bundles, the stream of commits, how far the hosts are.

use std::{fmt, sync::Arc};

use andromede_model::{AnyName, Resource, ResourceKind, limits};
use andromede_proto::{
    convert,
    v1::{
        ApplyRequest, ApplyResponse, GetStatusRequest, GetStatusResponse, HostStatus, ResourceChange, WatchRequest,
        fabric_service_server::FabricService, resource_change,
    },
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{
    broken,
    requests::{condition, identified},
    watch::{Scope, WatchStream, Watches},
};
use crate::{
    access::caller,
    change::{Change, Effect},
    errors,
    publish::Publisher,
    registry::Registry,
    writer::Writer,
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
    /// Where watches begin.
    pub watches: Watches,
}

impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fabric").finish_non_exhaustive()
    }
}

/// The method, as the history calls it.
const APPLY: &str = "apply";

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
    type WatchStream = WatchStream;

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let principal = caller(&request)?;
        let identified = identified(&request.get_ref().request_id, APPLY, &request.get_ref().encode_to_vec())?;
        let ApplyRequest { resources, validate_only, deleted, .. } = request.into_inner();
        let mut conditions = Vec::new();
        for resource in resources.iter().filter(|resource| !resource.etag().is_empty()) {
            // A wrong name is told with everything else that is wrong.
            if let Ok(name) = resource.name().parse::<AnyName>() {
                conditions.extend(condition(&name, resource.etag())?);
            }
        }
        let written = convert::resources(resources).map_err(|violations| errors::invalid(&violations))?;
        let deleted = names(&deleted)?;
        let change = Change {
            written,
            deleted,
            conditions,
            request: identified,
            validate_only,
            ..Change::new(principal, APPLY)
        };
        let written = self.writer.write(change).await?;
        let change = |(name, effect): (AnyName, Effect)| ResourceChange {
            kind: resource_change::Kind::from(effect).into(),
            name: name.to_string(),
        };
        let changes = written.effects.into_iter().map(change).collect();
        Ok(Response::new(ApplyResponse { revision: written.revision, changes }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<WatchStream>, Status> {
        let WatchRequest { after_revision, parent } = request.into_inner();
        Ok(Response::new(self.watches.watch(Scope::everything(&parent)?, after_revision)?))
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
