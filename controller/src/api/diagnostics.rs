//! What network engineers ask: the hosts are asked, and their answers put together.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use andromede_model::{HostName, Model, NetworkName, Port, PortName, Resource, ResourceKind};
use andromede_proto::{
    agent::v1::{answer::Answer, query},
    v1::{
        HostError, ListDropsRequest, ListDropsResponse, ListFlowsRequest, ListFlowsResponse, ListRuleEventsRequest,
        ListRuleEventsResponse, ListRuleHitsRequest, ListRuleHitsResponse, TraceRequest, TraceResponse,
        diagnostics_service_server::DiagnosticsService,
    },
};
use futures::{StreamExt as _, stream};
use tonic::{Request, Response, Status};

use super::{broken, name};
use crate::{
    access::{Caller, Sight, Views, caller},
    errors,
    registry::{AskError, Registry},
    trace::{HostRows, Next, Question, TraceError, Walk},
};

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Hosts that are asked at once.
const ASKED_AT_ONCE: usize = 64;
/// Flows of a host if nothing is said.
const FLOWS: u32 = 1_000;
/// Most flows of a host.
const MOST_FLOWS: u32 = 10_000;
/// Most counts, and most events, of drops that a host may tell.
const MOST_DROPS: usize = 10_000;
/// Rows of all hosts in one answer; when there are so many, no further host is asked.
const MOST_ROWS: usize = 100_000;

/// The service over the registry of sessions.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    /// The published state.
    pub views: Views,
    /// The way to the hosts.
    pub registry: Arc<Registry>,
}

impl Diagnostics {
    /// The hosts that a question concerns: the one named, else the one that holds the port, else all.
    pub(super) fn concerned(&self, caller: &Caller, host: &str, port: &str) -> Result<Vec<HostName>, Status> {
        let model = self.views.model(caller);
        if caller.sight != Sight::Everything {
            return Self::holders(&model, host, port);
        }
        let port = if port.is_empty() {
            None
        } else {
            let name = name::<PortName>("port", port)?;
            Some(model.port(&name).ok_or_else(|| errors::not_found(name.as_str()))?)
        };
        if !host.is_empty() {
            let name = name::<HostName>("host", host)?;
            return match model.host(&name) {
                Some(_) => Ok(vec![name]),
                None => Err(errors::not_found(name.as_str())),
            };
        }
        if let Some(host) = port.and_then(|port| port.host.clone()) {
            return Ok(vec![host]);
        }
        let names = model.all(ResourceKind::Host).map(|host| host.name().as_str().parse::<HostName>());
        Ok(names.filter_map(Result::ok).collect())
    }

    /// The same for a tenant: of hosts it knows those that hold its ports.
    fn holders(model: &Model, host: &str, port: &str) -> Result<Vec<HostName>, Status> {
        let port = (!port.is_empty()).then(|| name::<PortName>("port", port)).transpose()?;
        if let Some(port) = &port {
            model.port(port).ok_or_else(|| errors::not_found(port.as_str()))?;
        }
        let is_asked = |found: &Port| port.as_ref().is_none_or(|port| *port == found.name);
        let ports = model.all(ResourceKind::Port).filter_map(|resource| match resource {
            Resource::Port(port) => is_asked(&port).then_some(port.host).flatten(),
            _ => None,
        });
        let holders: BTreeSet<HostName> = ports.collect();
        if host.is_empty() {
            return Ok(holders.into_iter().collect());
        }
        let name = name::<HostName>("host", host)?;
        if holders.contains(&name) { Ok(vec![name]) } else { Err(errors::not_found(name.as_str())) }
    }

    /// Asks hosts, several at once. `read` takes out of an answer what was asked for, and says how many rows it has.
    pub(super) async fn ask<T>(
        &self,
        hosts: Vec<HostName>,
        question: impl Fn(&HostName) -> query::Question,
        read: impl Fn(Answer) -> Option<(T, usize)>,
    ) -> (Vec<(String, T)>, Vec<HostError>) {
        let asked = hosts.clone().into_iter().map(|host| {
            let question = question(&host);
            async move { (self.registry.ask(host.as_str(), question, PATIENCE).await, host.to_string()) }
        });
        let mut results = stream::iter(asked).buffered(ASKED_AT_ONCE);
        let (mut answers, mut errors) = (Vec::new(), Vec::new());
        let (mut told, mut rows) = (0_usize, 0_usize);
        while rows < MOST_ROWS
            && let Some((result, host)) = results.next().await
        {
            told = told.saturating_add(1);
            match result.and_then(|answer| read(answer).ok_or(AskError::Unfit)) {
                Ok((answer, more)) => {
                    rows = rows.saturating_add(more);
                    answers.push((host, answer));
                }
                Err(error) => errors.push(HostError { host, error: error.to_string() }),
            }
        }
        let error = format!("not told: {rows} rows of other hosts fill the answer; ask for this host alone");
        errors.extend(hosts.iter().skip(told).map(|host| HostError { host: host.to_string(), error: error.clone() }));
        (answers, errors)
    }
}

#[tonic::async_trait]
impl DiagnosticsService for Diagnostics {
    async fn list_drops(&self, request: Request<ListDropsRequest>) -> Result<Response<ListDropsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let hosts = self.concerned(&caller, &request.host, &request.port)?;
        let (answers, errors) = self
            .ask(
                hosts,
                |_| query::Question::Drops(request.clone()),
                |answer| match answer {
                    Answer::Drops(mut drops) => {
                        drops.counts.truncate(MOST_DROPS);
                        drops.recent.truncate(MOST_DROPS);
                        let rows = drops.counts.len().saturating_add(drops.recent.len());
                        Some((drops, rows))
                    }
                    _ => None,
                },
            )
            .await;
        let mut all = ListDropsResponse { errors, ..ListDropsResponse::default() };
        for (host, mut drops) in answers {
            // A host speaks for itself only.
            drops.counts.iter_mut().for_each(|count| count.host.clone_from(&host));
            drops.recent.iter_mut().for_each(|event| event.host.clone_from(&host));
            all.counts.append(&mut drops.counts);
            all.recent.append(&mut drops.recent);
        }
        all.recent.sort_by_key(|event| event.time_unix_nanos);
        Ok(Response::new(all))
    }

    async fn list_flows(&self, request: Request<ListFlowsRequest>) -> Result<Response<ListFlowsResponse>, Status> {
        let caller = caller(&request)?;
        let mut request = request.into_inner();
        if !request.network.is_empty() {
            let network = name::<NetworkName>("network", &request.network)?;
            let found = self.views.model(&caller).network(&network).is_some();
            found.then_some(()).ok_or_else(|| errors::not_found(network.as_str()))?;
        }
        request.limit = match request.limit {
            0 => FLOWS,
            limit @ 1..=MOST_FLOWS => limit,
            limit => return Err(broken("limit", limit, "at most 10000 flows of each host are told", "ask for fewer")),
        };
        let limit = request.limit;
        let hosts = self.concerned(&caller, &request.host, &request.port)?;
        let (answers, errors) = self
            .ask(
                hosts,
                |_| query::Question::Flows(request.clone()),
                move |answer| match answer {
                    Answer::Flows(mut flows) => {
                        flows.flows.truncate(limit as usize);
                        let rows = flows.flows.len();
                        Some((flows, rows))
                    }
                    _ => None,
                },
            )
            .await;
        let mut all = ListFlowsResponse { errors, ..ListFlowsResponse::default() };
        for (host, mut flows) in answers {
            flows.flows.iter_mut().for_each(|flow| flow.host.clone_from(&host));
            all.flows.append(&mut flows.flows);
        }
        Ok(Response::new(all))
    }

    async fn list_rule_events(
        &self,
        request: Request<ListRuleEventsRequest>,
    ) -> Result<Response<ListRuleEventsResponse>, Status> {
        let caller = caller(&request)?;
        self.rule_events(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_rule_hits(
        &self,
        request: Request<ListRuleHitsRequest>,
    ) -> Result<Response<ListRuleHitsResponse>, Status> {
        let caller = caller(&request)?;
        self.rule_hits(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn trace(&self, request: Request<TraceRequest>) -> Result<Response<TraceResponse>, Status> {
        let question = Question::read(request.get_ref()).map_err(|violations| errors::invalid(&violations))?;
        let mut walk = Walk::begin(&self.views.model(&caller(&request)?), question)?;
        loop {
            let rows = self.rows(walk.host(), walk.network()).await?;
            if let Next::Done(told) = walk.enter(&rows)? {
                return Ok(Response::new(told));
            }
        }
    }
}

impl Diagnostics {
    /// The rows of a host that concern a network.
    async fn rows(&self, host: &HostName, network: &NetworkName) -> Result<HostRows, Status> {
        let question = query::Question::NetworkRows(network.to_string());
        let answer = match self.registry.ask(host.as_str(), question, PATIENCE).await {
            Ok(Answer::NetworkRows(rows)) => Ok(rows),
            Ok(_) => Err(AskError::Unfit),
            Err(error) => Err(error),
        };
        let rows = answer.map_err(|error| Status::unavailable(format!("{host}: {error}")))?;
        HostRows::read(&rows).map_err(|error| TraceError::Rows { host: host.clone(), error }.into())
    }
}

impl From<TraceError> for Status {
    fn from(error: TraceError) -> Self {
        match error {
            TraceError::NoPort(_) => Self::not_found(error.to_string()),
            TraceError::NotPlaced(_) | TraceError::NotAttached { .. } | TraceError::NoAddress(_) => {
                Self::failed_precondition(error.to_string())
            }
            TraceError::Loop | TraceError::Rows { .. } => Self::internal(error.to_string()),
        }
    }
}
