//! Join tokens, and the certificates that hosts get by them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use andromede_model::HostName;
use andromede_proto::{
    agent::v1::{HostCertificate, JoinRequest, RenewRequest, join_service_server::JoinService},
    v1::{CreateJoinTokenRequest, JoinToken, join_token_service_server::JoinTokenService},
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{broken, name};
use crate::{
    access::{Principal, Views, caller},
    errors,
    join::{AuthorityError, HostAuthority, LONGEST, Promise, TokenError, Tokens, USUAL},
    publish::Publisher,
};

/// Both services over the published state.
#[derive(Clone, Debug)]
pub struct Join {
    /// The published state, as operators see it.
    pub views: Views,
    /// The same, for hosts.
    pub publisher: Arc<Publisher>,
    /// Tokens that wait to be used.
    pub tokens: Arc<Tokens>,
    /// Who issues; none: hosts do not join here.
    pub authority: Option<Arc<HostAuthority>>,
}

impl Join {
    fn authority(&self) -> Result<&HostAuthority, Status> {
        let none = "this controller issues no certificates; start it with --host-ca and --host-ca-key";
        self.authority.as_deref().ok_or_else(|| Status::failed_precondition(none))
    }

    fn issue(&self, principal: &Principal, promise: &Promise, request: &[u8]) -> Result<HostCertificate, Status> {
        let Promise { host, index } = promise;
        let model = self.publisher.model();
        let Some(found) = model.host(host).filter(|found| found.index == *index) else {
            return Err(Status::permission_denied(format!("{host} was deleted since; join it anew")));
        };
        if found.is_fenced() {
            return Err(Status::permission_denied(format!("{host} was fenced: it gets no certificate any more")));
        }
        let certificate = self.authority()?.issue(host, *index, request)?;
        tracing::info!(target: "audit", %principal, %host, index, "certificate issued");
        Ok(HostCertificate { host: host.id().to_owned(), certificate })
    }

    /// The host that a certificate speaks for, as it is there now.
    fn known(&self, principal: &Principal) -> Result<Promise, Status> {
        let host = name::<HostName>("host", &format!("hosts/{}", principal.name))?;
        let model = self.publisher.model();
        let index = model.host(&host).ok_or_else(|| errors::not_found(host.as_str()))?.index;
        if !principal.is_host(&host, index) {
            return Err(Status::permission_denied(format!("the certificate is not that of {host} as it is now")));
        }
        Ok(Promise { host, index })
    }
}

impl From<AuthorityError> for Status {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::Request => {
                let rule = "it is a PKCS #10 request in DER, signed with its own key";
                broken("certificate_request", "", rule, "make one with a new key")
            }
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<TokenError> for Status {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Full => Self::resource_exhausted(error.to_string()),
            TokenError::Random(_) => Self::internal(error.to_string()),
        }
    }
}

#[tonic::async_trait]
impl JoinTokenService for Join {
    async fn create_join_token(&self, request: Request<CreateJoinTokenRequest>) -> Result<Response<JoinToken>, Status> {
        let caller = caller(&request)?;
        let CreateJoinTokenRequest { parent, ttl_seconds } = request.into_inner();
        let host = name::<HostName>("parent", &parent)?;
        let ttl = match Duration::from_secs(u64::from(ttl_seconds)) {
            Duration::ZERO => USUAL,
            ttl if ttl <= LONGEST => ttl,
            _ => {
                return Err(broken(
                    "ttl_seconds",
                    ttl_seconds,
                    "a token is good for at most 86400 seconds",
                    "give less",
                ));
            }
        };
        let model = self.views.model(&caller);
        let found = model.host(&host).ok_or_else(|| errors::not_found(host.as_str()))?;
        if found.is_fenced() {
            let fix = "remove the host, and declare it anew";
            return Err(broken("parent", &host, "a host that was fenced does not join any more", fix));
        }
        let index = found.index;
        self.authority()?;
        let token = self.tokens.create(Promise { host: host.clone(), index }, ttl, Instant::now())?;
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + ttl;
        tracing::info!(target: "audit", principal = %caller.principal, %host, seconds = ttl.as_secs(), "join token made");
        let expire_time_unix_nanos = i64::try_from(end.as_nanos()).unwrap_or(i64::MAX);
        Ok(Response::new(JoinToken { token, expire_time_unix_nanos }))
    }
}

#[tonic::async_trait]
impl JoinService for Join {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<HostCertificate>, Status> {
        let principal = caller(&request)?.principal;
        let JoinRequest { token, certificate_request } = request.into_inner();
        self.authority()?;
        let Some(promise) = self.tokens.take(&token, Instant::now()) else {
            // One answer for all of it: who guesses learns nothing.
            let refused = "the join token does not exist, was used, or is too old; make another with \
                           `andromedectl host token HOST`";
            return Err(Status::permission_denied(refused));
        };
        self.issue(&principal, &promise, &certificate_request).map(Response::new)
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<HostCertificate>, Status> {
        let principal = caller(&request)?.principal;
        let promise = self.known(&principal)?;
        self.issue(&principal, &promise, &request.get_ref().certificate_request).map(Response::new)
    }
}
