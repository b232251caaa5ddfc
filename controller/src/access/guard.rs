//! Before every service: who calls, and may they?

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tonic::{
    Code, Status,
    body::Body,
    codegen::{BoxFuture, http},
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::{Layer, Service};

use super::{
    AccessError, Bearer, BearerError, Bearers, Principal, Role, Sight, authorise,
    bearer::{self, Until},
};
use crate::{
    clock::now_nanos,
    denials::{Denials, UNKNOWN},
    join::HostAuthority,
};

/// The caller of a request that passed the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
    /// What it sees by the right to this call.
    pub sight: Sight,
}

/// Puts [`Guard`] before every service.
#[derive(Clone, Debug)]
pub struct GuardLayer {
    /// Are callers known by their certificates? Otherwise all are anonymous.
    pub tls: bool,
    /// Who issues certificates to hosts that join, if they may: its certificates speak for nobody else, and whoever shows none
    /// is a stranger.
    pub hosts: Option<Arc<HostAuthority>>,
    /// Whose tokens are taken, if any are.
    pub bearers: Option<Arc<Bearers>>,
    /// Where denied calls are counted.
    pub denials: Arc<Denials>,
}

impl GuardLayer {
    /// Whom a token speaks for, of a connection with these certificates.
    fn bearer<C>(&self, token: &str, certificates: &[C]) -> Result<Bearer, BearerError> {
        if !certificates.is_empty() {
            return Err(BearerError::Both);
        }
        let now = now_nanos() / 1_000_000_000;
        self.bearers.as_ref().ok_or(BearerError::Off)?.bearer(token, now)
    }

    /// Whom the certificates of a connection speak for; the TLS library has verified that the first leads to an authority.
    fn principal<C: AsRef<[u8]>>(&self, certificates: &[C]) -> Result<Principal, AccessError> {
        let Some(own) = certificates.first() else {
            return self.hosts.as_ref().map(|_| Principal::stranger()).ok_or(AccessError::NoCertificate);
        };
        let principal = Principal::from_certificate(own.as_ref())?;
        let chain = certificates.iter().map(AsRef::as_ref);
        let by_hosts = self.hosts.as_ref().is_some_and(|hosts| hosts.issued(chain));
        if by_hosts && !matches!(principal.role, Role::Host(Some(_))) {
            return Err(AccessError::WrongIssuer);
        }
        Ok(principal)
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, layer: self.clone() }
    }
}

/// Finds out who calls, refuses what the table does not allow, and hands the [`Caller`] on in the request's extensions.
#[derive(Clone, Debug)]
pub struct Guard<S> {
    inner: S,
    layer: GuardLayer,
}

impl<S> Guard<S> {
    /// Who calls, and until when, in seconds since 1970, if that is said.
    fn principal(&self, request: &mut http::Request<Body>) -> Result<(Principal, Option<i64>), AccessError> {
        let token = bearer::take(request.headers_mut())?;
        if !self.layer.tls {
            return if token.is_some() {
                Err(BearerError::Plaintext.into())
            } else {
                Ok((Principal::anonymous(), None))
            };
        }
        let info = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
        let certificates = info.and_then(TlsConnectInfo::peer_certs);
        let certificates = certificates.as_deref().map_or(&[][..], Vec::as_slice);
        match token {
            None => Ok((self.layer.principal(certificates)?, None)),
            Some(token) => {
                let Bearer { principal, until } = self.layer.bearer(&token, certificates)?;
                Ok((principal, Some(until)))
            }
        }
    }

    /// The caller, if it may call, and until when; otherwise what is known of it, and why not.
    fn admit(&self, request: &mut http::Request<Body>) -> Result<(Caller, Option<i64>), (String, AccessError)> {
        let (principal, until) = self.principal(request).map_err(|error| (UNKNOWN.to_owned(), error))?;
        let extent = authorise(&principal, request.uri().path());
        let extent = extent.map_err(|error| (principal.to_string(), error))?;
        let sight = Sight::new(&principal, extent);
        Ok((Caller { principal, sight }, until))
    }
}

impl<S> Service<http::Request<Body>> for Guard<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        match self.admit(&mut request) {
            Ok((caller, until)) => {
                tracing::Span::current().record("principal", tracing::field::display(&caller.principal));
                let (denials, name) = (Arc::clone(&self.layer.denials), caller.principal.to_string());
                let path = request.uri().path().to_owned();
                request.extensions_mut().insert(caller);
                let answer = self.inner.call(request);
                Box::pin(async move {
                    let response = answer.await?;
                    if is_denied(&response) {
                        denials.count(&name, &path);
                    }
                    Ok(match until {
                        Some(until) => response.map(|body| Body::new(Until::new(body, until))),
                        None => response,
                    })
                })
            }
            Err((name, error)) => {
                tracing::warn!(%error, "call refused");
                self.layer.denials.count(&name, request.uri().path());
                let response = Status::from(error).into_http();
                Box::pin(async move { Ok(response) })
            }
        }
    }
}

/// Did the service itself say that the caller may not? The status of an answer without content stands in its headers.
fn is_denied(response: &http::Response<Body>) -> bool {
    let status = Status::from_header_map(response.headers());
    status.is_some_and(|status| matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated))
}

/// The caller of a request.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    let found = request.extensions().get::<Caller>().cloned();
    found.ok_or_else(|| AccessError::NoCertificate.into())
}
