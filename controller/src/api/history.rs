//! Who changed what, and the way back.

use std::{fmt, sync::Arc};

use andromede_proto::v1::{
    ApplyResponse, CommitSummary, DeniedCalls, DiffRequest, DiffResponse, ListCommitsRequest, ListCommitsResponse,
    RollbackRequest, VerifyCommitsRequest, VerifyCommitsResponse, history_service_server::HistoryService,
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{broken, fabric::applied, requests::identified};
use crate::{
    access::{Caller, Sight, Views, caller},
    chain,
    change::Change,
    denials::DeniedRecord,
    hexadecimal::hexadecimal,
    history::Span,
    preview,
    record::Record,
    store::{Store, StoreError},
    writer::Writer,
};

/// Most commits of a page, and as many if nothing is said.
const PAGE: (u32, u32) = (1_000, 50);
/// Most commits that are looked at for one page.
const LOOKED_AT: u64 = 100_000;
/// Commits that are read from the store at once.
const STEP: usize = 256;
/// Names in a summary.
const NAMED: usize = 20;

/// The service over the log.
#[derive(Clone)]
pub struct History {
    /// The log.
    pub store: Arc<Store>,
    /// The published state.
    pub views: Views,
    /// Where writes go.
    pub writer: Writer,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").finish_non_exhaustive()
    }
}

impl From<DeniedRecord> for DeniedCalls {
    fn from(record: DeniedRecord) -> Self {
        Self {
            principal: record.principal,
            method: record.method,
            calls: record.calls,
            first_time_unix_nanos: record.first_unix_nanos,
            last_time_unix_nanos: record.last_unix_nanos,
        }
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Trimmed { .. } => Self::out_of_range(error.to_string()),
            _ => Self::data_loss(error.to_string()),
        }
    }
}

/// Work that reads much, beside the threads that serve calls.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let ended = |_| Status::internal("a fault of the controller; look at its log");
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}

/// Reads what lies between two revisions, as far as it is in sight; `to` 0 stands for the last.
pub(super) fn span(store: &Store, sight: &Sight, head: u64, from: u64, to: u64) -> Result<Span, Status> {
    let to = if to == 0 { head } else { to };
    for (field, revision) in [("from_revision", from), ("to_revision", to)] {
        if revision > head {
            let rule = format!("the last revision is {head}");
            return Err(broken(field, revision, &rule, "give an earlier one"));
        }
    }
    let mut span = Span::read(store, from, to)?;
    span.touched.retain(|name| sight.sees(name));
    Ok(span)
}

#[tonic::async_trait]
impl HistoryService for History {
    async fn list_commits(
        &self,
        request: Request<ListCommitsRequest>,
    ) -> Result<Response<ListCommitsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let (store, head) = (Arc::clone(&self.store), self.views.revision());
        aside(move || page(&store, &caller, head, &request)).await.map(Response::new)
    }

    async fn verify_commits(
        &self,
        request: Request<VerifyCommitsRequest>,
    ) -> Result<Response<VerifyCommitsResponse>, Status> {
        let VerifyCommitsRequest { revision } = request.into_inner();
        let store = Arc::clone(&self.store);
        let found = aside(move || Ok(chain::verify(&store, revision)?)).await?;
        Ok(Response::new(VerifyCommitsResponse {
            first_revision: found.first,
            last_revision: found.first.saturating_add(found.commits).saturating_sub(1),
            sum: hexadecimal(&found.last),
            sum_at_revision: hexadecimal(&found.asked),
            broken_revision: found.broken.unwrap_or_default(),
        }))
    }

    async fn diff(&self, request: Request<DiffRequest>) -> Result<Response<DiffResponse>, Status> {
        let sight = caller(&request)?.sight;
        let DiffRequest { from_revision, to_revision } = request.into_inner();
        let (store, head) = (Arc::clone(&self.store), self.views.revision());
        let span = aside(move || span(&store, &sight, head, from_revision, to_revision)).await?;
        let changes = span.changes().map(|(name, before, after)| preview::planned(name, before, after)).collect();
        Ok(Response::new(DiffResponse { to_revision: span.to.revision(), changes }))
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<ApplyResponse>, Status> {
        const METHOD: &str = "rollback";
        let Caller { principal, sight } = caller(&request)?;
        let identified = identified(&request.get_ref().request_id, METHOD, &request.get_ref().encode_to_vec())?;
        if let Some(written) = self.writer.repeated(&principal, identified.as_ref())? {
            return Ok(Response::new(applied(written)));
        }
        let RollbackRequest { to_revision, planned_revision, .. } = request.into_inner();
        let (store, head) = (Arc::clone(&self.store), self.views.revision());
        if to_revision == 0 {
            let fix = "delete what is there, if nothing shall be";
            return Err(broken("to_revision", 0, "a revision is 1 or more", fix));
        }
        let span = aside(move || span(&store, &sight, head, head, to_revision)).await?;
        let change = Change {
            planned_revision: Some(planned_revision).filter(|revision| *revision != 0),
            request: identified,
            ..Change::new(principal, METHOD)
        };
        Ok(Response::new(applied(self.writer.write(span.change(change)).await?)))
    }
}

/// One page of commits, the newest first.
fn page(
    store: &Store,
    caller: &Caller,
    head: u64,
    request: &ListCommitsRequest,
) -> Result<ListCommitsResponse, Status> {
    let size = match request.page_size {
        0 => PAGE.1,
        size if size <= PAGE.0 => size,
        size => return Err(broken("page_size", size, "a page has at most 1000 commits", "ask for fewer")),
    };
    let mut end = if request.page_token.is_empty() {
        head
    } else {
        let fix = "give the next_page_token of the page before, or none";
        let unfit = |_| broken("page_token", &request.page_token, "it is not a token of this list", fix);
        request.page_token.parse::<u64>().map_err(unfit)?.min(head)
    };
    let first = store.first()?;
    let (mut commits, mut looked_at) = (Vec::new(), 0_u64);
    while end >= first && commits.len() < size as usize && looked_at < LOOKED_AT {
        let entries = store.read_back(end, STEP)?;
        if entries.is_empty() {
            break;
        }
        for (number, bytes) in entries {
            if commits.len() >= size as usize {
                break;
            }
            end = number.saturating_sub(1);
            looked_at = looked_at.saturating_add(1);
            let record =
                Record::read(&bytes).map_err(|error| Status::data_loss(format!("commit {number}: {error}")))?;
            commits.extend(summary(record, caller, &request.name));
        }
    }
    let next_page_token = if end >= first { end.to_string() } else { String::new() };
    Ok(ListCommitsResponse { commits, next_page_token })
}

/// A commit in short, as the caller may know it; none: nothing that it touches at or below the name is in sight.
fn summary(mut record: Record, caller: &Caller, below: &str) -> Option<CommitSummary> {
    record.written.retain(|resource| caller.sight.sees_text(resource.name()));
    record.deleted.retain(|name| caller.sight.sees_text(name));
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let written = record.written.iter().map(|resource| resource.name().to_owned());
    let mut names: Vec<String> = written.chain(record.deleted.iter().cloned()).collect();
    let within = |name: &String| name.strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    names.retain(|name| below.is_empty() || within(name));
    if names.is_empty() && !(below.is_empty() && caller.sight == Sight::Everything) {
        return None;
    }
    names.truncate(NAMED);
    // What others call their requests concerns a tenant as little as what else was in them.
    let own = caller.sight == Sight::Everything || record.principal == caller.principal.to_string();
    Some(CommitSummary {
        revision: record.revision,
        time_unix_nanos: record.time_unix_nanos,
        principal: record.principal,
        method: record.method,
        request_id: record.request.filter(|_| own).map(|request| request.id).unwrap_or_default(),
        written: count(record.written.len()),
        deleted: count(record.deleted.len()),
        names,
        denied: record.denied.into_iter().filter(|_| caller.sight == Sight::Everything).map(Into::into).collect(),
    })
}
