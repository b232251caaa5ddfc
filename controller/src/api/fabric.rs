//! What concerns the whole fabric: bundles, the stream of commits, how far the hosts are.

use std::{collections::BTreeSet, fmt, sync::Arc};

use andromede_model::{AnyName, Host, Model, Resource, ResourceKind, limits};
use andromede_proto::{
    convert,
    v1::{
        self, ApplyRequest, ApplyResponse, GetStatusRequest, GetStatusResponse, HostStatus, InForce, PlanRequest,
        PlanResponse, ResourceChange, WaitInForceRequest, WatchInForceRequest, WatchRequest,
        fabric_service_server::FabricService, resource_change,
    },
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{
    broken,
    history::{aside, span},
    in_force::{InForceStream, Waiting},
    requests::{condition, identified},
    watch::{Scope, WatchStream, Watches},
};
use crate::{
    access::{Caller, Views, caller},
    change::{Change, Condition, Effect, Written},
    errors,
    registry::Registry,
    utilization::Utilizations,
    writer::Writer,
};

/// The service over the writer, the published state and the log.
#[derive(Clone)]
pub struct Fabric {
    /// Where writes go.
    pub writer: Writer,
    /// The published state.
    pub views: Views,
    /// Which hosts are there.
    pub registry: Arc<Registry>,
    /// Where watches begin.
    pub watches: Watches,
    /// How full subnets are.
    pub utilizations: Arc<Utilizations>,
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

/// Key and value of a label.
fn label(text: &str) -> Result<(String, String), Status> {
    let refuse = || broken("prune", text, "a label is a key and a value", "write it as KEY=VALUE");
    let (key, value) =
        text.split_once('=').filter(|(key, value)| !key.is_empty() && !value.is_empty()).ok_or_else(refuse)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The names of all resources with a label.
fn labelled(model: &Model, key: &str, value: &str) -> Vec<(AnyName, u64)> {
    let all = ResourceKind::ALL.into_iter().flat_map(|kind| model.all(kind));
    let labelled = all.filter(|resource| resource.labels().get(key) == Some(value));
    labelled.map(|resource| (resource.name(), resource.revision())).collect()
}

/// What a write did, as callers are told.
pub(super) fn applied(written: Written) -> ApplyResponse {
    let change = |(name, effect): (AnyName, Effect)| ResourceChange {
        kind: resource_change::Kind::from(effect).into(),
        name: name.to_string(),
    };
    ApplyResponse { revision: written.revision, changes: written.effects.into_iter().map(change).collect() }
}

#[tonic::async_trait]
impl FabricService for Fabric {
    type WatchStream = WatchStream;

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let caller = caller(&request)?;
        let identified = identified(&request.get_ref().request_id, APPLY, &request.get_ref().encode_to_vec())?;
        let ApplyRequest { resources, validate_only, deleted, prune, planned_revision, .. } = request.into_inner();
        let change = self.bundle(&caller, resources, &deleted, &prune).await?;
        let planned_revision = Some(planned_revision).filter(|revision| *revision != 0);
        let change = Change { request: identified, validate_only, planned_revision, ..change };
        Ok(Response::new(applied(self.writer.write(change).await?)))
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        let caller = caller(&request)?;
        let PlanRequest { resources, deleted, prune, rollback_to_revision } = request.into_inner();
        let change = if rollback_to_revision == 0 {
            self.bundle(&caller, resources, &deleted, &prune).await?
        } else if resources.is_empty() && deleted.is_empty() && prune.is_empty() {
            let (store, head) = (Arc::clone(&self.watches.store), self.views.revision());
            let nothing = Change { planned_revision: Some(head), ..Change::new(caller.principal.clone(), APPLY) };
            let sight = caller.sight.clone();
            aside(move || Ok(span(&store, &sight, head, head, rollback_to_revision)?.change(nothing))).await?
        } else {
            let rule = "a plan is that of a bundle or of a rollback";
            return Err(broken("rollback_to_revision", rollback_to_revision, rule, "leave one of the two out"));
        };
        let views = self.views.clone();
        let planned = aside(move || Ok(views.plan(&caller, change)?)).await?;
        Ok(Response::new(planned))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<WatchStream>, Status> {
        let caller = caller(&request)?;
        let WatchRequest { after_revision, parent } = request.into_inner();
        Ok(Response::new(self.watches.watch(Scope::everything(caller, &parent)?, after_revision)?))
    }

    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let model = self.views.model(&caller(&request)?);
        let hosts = model.all(ResourceKind::Host).filter_map(|resource| match resource {
            Resource::Host(host) => Some(self.host_status(host)),
            _ => None,
        });
        let (revision, hosts) = (model.revision(), hosts.collect());
        let utilizations = Arc::clone(&self.utilizations);
        let round = aside(move || Ok(utilizations.all())).await?;
        let filling_subnets = u32::try_from(round.filling()).unwrap_or(u32::MAX);
        let fullest_subnets = round.fullest.iter().map(Into::into).collect();
        Ok(Response::new(GetStatusResponse { revision, hosts, filling_subnets, fullest_subnets }))
    }

    async fn wait_in_force(&self, request: Request<WaitInForceRequest>) -> Result<Response<InForce>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        self.waiting(caller, request.revision, request.all).wait(&request).await.map(Response::new)
    }

    type WatchInForceStream = InForceStream;

    async fn watch_in_force(&self, request: Request<WatchInForceRequest>) -> Result<Response<InForceStream>, Status> {
        let caller = caller(&request)?;
        let WatchInForceRequest { revision, all } = request.into_inner();
        self.waiting(caller, revision, all).watch().map(Response::new)
    }
}

impl Fabric {
    /// The change that a bundle says, or everything that is wrong with it.
    async fn bundle(
        &self,
        caller: &Caller,
        resources: Vec<v1::Resource>,
        deleted: &[String],
        prune: &str,
    ) -> Result<Change, Status> {
        let mut conditions = Vec::new();
        for resource in resources.iter().filter(|resource| !resource.etag().is_empty()) {
            // A wrong name is told with everything else that is wrong.
            if let Ok(name) = resource.name().parse::<AnyName>() {
                conditions.extend(condition(&name, resource.etag(), self.views.epoch())?);
            }
        }
        let written = convert::resources(resources).map_err(|violations| errors::invalid(&violations))?;
        let mut deleted = names(deleted)?;
        if !prune.is_empty() {
            let (key, value) = label(prune)?;
            let model = self.views.model(caller);
            let labelled = aside(move || Ok(labelled(&model, &key, &value))).await?;
            let kept: BTreeSet<AnyName> = written.iter().map(Resource::name).chain(deleted.iter().cloned()).collect();
            for (name, revision) in labelled.into_iter().filter(|(name, _)| !kept.contains(name)) {
                // Whoever changes it meanwhile may have taken the label off.
                conditions.push((name.clone(), Condition::At(revision)));
                deleted.push(name);
            }
        }
        Ok(Change { written, deleted, conditions, ..Change::new(caller.principal.clone(), APPLY) })
    }

    fn waiting(&self, caller: Caller, revision: u64, all: bool) -> Waiting {
        let (views, registry, stop) = (self.views.clone(), Arc::clone(&self.registry), self.watches.stop.clone());
        Waiting { views, registry, caller, stop, revision, all }
    }

    fn host_status(&self, host: Host) -> HostStatus {
        let (wanted_revision, ports) = self.views.wanted(&host.name);
        let state = self.registry.state(host.name.as_str());
        HostStatus {
            state: v1::Host::from(host.clone()).state,
            host: host.name.into(),
            connected: state.connected,
            last_seen_seconds: state.last_seen_seconds,
            wanted_revision,
            applied_revision: state.applied_revision,
            error: state.error,
            version: state.version,
            ports: ports as u32,
            ports_attached: state.ports_attached,
            unsupported: state.unsupported,
        }
    }
}
