//! What a caller wants to be written, and what came of it.

use andromede_model::{AnyName, CommitError, Resource, Violation};

use tracing::Span;

use crate::{
    access::{Principal, Role},
    denials::DeniedRecord,
    requests::Request,
};

/// What must be true of a resource for a write to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is none of this name.
    Absent,
    /// Its last write was at this revision.
    At(u64),
}

/// One write: all of it, or nothing.
#[derive(Clone, Debug)]
pub struct Change {
    /// Who wants it.
    pub principal: Principal,
    /// By which method of the API, for the history.
    pub method: &'static str,
    /// Resources as they will be.
    pub written: Vec<Resource>,
    /// Names of those that will be gone.
    pub deleted: Vec<AnyName>,
    /// What must be true before.
    pub conditions: Vec<(AnyName, Condition)>,
    /// The revision for which it was planned, if it is to be done at that only.
    pub planned_revision: Option<u64>,
    /// By which a repeated request is known.
    pub request: Option<Request>,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// The one resource to be deleted need not be there.
    pub allow_missing: bool,
    /// Calls that were denied, to be written down.
    pub denied: Vec<DeniedRecord>,
    /// The call for which it is done.
    pub span: Span,
}

impl Change {
    /// A write of nothing yet.
    pub fn new(principal: Principal, method: &'static str) -> Self {
        Self {
            principal,
            method,
            written: Vec::new(),
            deleted: Vec::new(),
            conditions: Vec::new(),
            planned_revision: None,
            request: None,
            validate_only: false,
            allow_missing: false,
            denied: Vec::new(),
            span: Span::current(),
        }
    }
}

/// What a write did, or would do, to one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is new.
    Created,
    /// It is not as before.
    Updated,
    /// It was like that already.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// What a write did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Revision of the commit, or of the state that needed none.
    pub revision: u64,
    /// Effect on each resource of the request, in its order.
    pub effects: Vec<(AnyName, Effect)>,
    /// The resource as it is after the write, if the request writes one.
    pub resource: Option<Resource>,
    /// Parts of a host's claim that were not written; empty for all other writes, which are whole or not done.
    pub refused: Vec<Refused>,
}

/// A part of a host's claim that was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The name, as the host gave it.
    pub name: String,
    /// Why, in words.
    pub reason: String,
}

/// Why a write was not done.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It breaks rules.
    #[error("the write breaks {} rules", .0.len())]
    Invalid(Vec<Violation>),
    /// It changes what is not for the caller to decide.
    #[error("the write changes {} fields that are not for the caller to decide", .0.len())]
    Forbidden(Vec<Violation>),
    /// The one resource to be deleted does not exist, or a resource is out of the caller's sight.
    #[error("{0} does not exist")]
    NotFound(AnyName),
    /// The resource to be created exists.
    #[error("{0} exists already")]
    AlreadyExists(AnyName),
    /// A resource is not as the caller believes.
    #[error("{name} was changed by somebody else")]
    Changed {
        /// The resource.
        name: AnyName,
        /// Its etag now; empty: it is not there, or that is not known.
        etag: String,
    },
    /// It was planned for another revision than the last.
    #[error("the last commit has revision {0}, which is not the planned_revision; plan again")]
    Moved(u64),
    /// The id of the request belongs to another one.
    #[error("the request_id was used for another request; use a new one for each")]
    RequestReused,
    /// Too many ids of requests are remembered.
    #[error("too many requests with a request_id within an hour; send this one without, or later")]
    RequestsFull,
    /// A host would have more rows than it may be given.
    #[error(transparent)]
    Full(Box<crate::capacity::Full>),
    /// It would give addresses of a fenced host to others while some host still takes it for a member.
    #[error("{} is on {}, which was fenced, and {} have yet to apply that", .0.name, .0.host, .0.behind.len())]
    StillMember(Box<crate::fence::StillMember>),
    /// The model prepared something that it then refused: a fault of the program. Nothing was written.
    #[error("a fault of the controller, nothing was written: {0}; report it with the request")]
    Fault(#[from] CommitError),
    /// The store failed, or the controller is ending: whether the write will be found after a restart is unknown.
    #[error("the store failed or the controller is ending; look at its log, then read back what was written")]
    Stopped,
}

impl WriteError {
    /// The same, as far as this caller may know it.
    #[must_use]
    pub fn told_to(self, principal: &Principal) -> Self {
        match self {
            Self::Full(full) if matches!(principal.role, Role::TenantAdmin(_) | Role::TenantReader(_)) => {
                Self::Full(Box::new(full.for_tenant()))
            }
            Self::StillMember(still) if matches!(principal.role, Role::TenantAdmin(_) | Role::TenantReader(_)) => {
                Self::StillMember(Box::new(crate::fence::StillMember { behind: Vec::new(), ..*still }))
            }
            other => other,
        }
    }
}
