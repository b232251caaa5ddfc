//! Who calls, and what they may call: one table of rights.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, http},
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::{Layer, Service};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// Scheme of the URI in a certificate's subject alternative name: `andromede://ROLE/NAME`.
const SCHEME: &str = "andromede://";
/// Most bytes of a principal's name.
const NAME_BYTES: usize = 128;

/// What a certificate was issued for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A controller.
    Controller,
    /// The agent of a host.
    Host,
    /// A person or a program that uses the API.
    User,
    /// Nobody was asked: plaintext on loopback.
    Anonymous,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its role.
    pub role: Role,
    /// Its name; empty for [`Role::Anonymous`].
    pub name: String,
}

impl Principal {
    /// The caller of a plaintext connection.
    pub fn anonymous() -> Self {
        Self { role: Role::Anonymous, name: String::new() }
    }

    /// Reads the principal out of a certificate (DER), which the TLS library has verified.
    pub fn from_certificate(certificate: &[u8]) -> Result<Self, AccessError> {
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| AccessError::Unreadable)?;
        let names = certificate.subject_alternative_name().map_err(|_| AccessError::Unreadable)?;
        let mut found = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with(SCHEME) => Some(*uri),
            _ => None,
        });
        match (found.next(), found.next()) {
            (Some(uri), None) => Self::from_uri(uri),
            _ => Err(AccessError::NoName),
        }
    }

    fn from_uri(uri: &str) -> Result<Self, AccessError> {
        let malformed = || AccessError::Malformed { uri: uri.chars().take(NAME_BYTES).collect() };
        let (role, name) = uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(malformed)?;
        let role = match role {
            "controller" => Role::Controller,
            "host" => Role::Host,
            "user" => Role::User,
            _ => return Err(malformed()),
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(allowed) {
            return Err(malformed());
        }
        Ok(Self { role, name: name.to_owned() })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Role::Controller => write!(f, "controller/{}", self.name),
            Role::Host => write!(f, "host/{}", self.name),
            Role::User => write!(f, "user/{}", self.name),
            Role::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// Why a caller is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The connection has no certificate.
    #[error("no client certificate; give --tls-cert and --tls-key, made by `andromedectl pki issue`")]
    NoCertificate,
    /// The certificate cannot be parsed.
    #[error("the client certificate cannot be read as X.509; issue it with `andromedectl pki issue`")]
    Unreadable,
    /// The certificate has no name that means something here, or several.
    #[error("the client certificate must carry one URI {SCHEME}ROLE/NAME; issue it with `andromedectl pki issue`")]
    NoName,
    /// The name is malformed.
    #[error(
        "the client certificate's URI {uri:?} is not {SCHEME}controller|host|user/NAME; issue it with `andromedectl pki issue`"
    )]
    Malformed {
        /// The URI, cut to a length that can be shown.
        uri: String,
    },
    /// The principal may not call this.
    #[error("{principal} may not call {path}; {fix}")]
    Forbidden {
        /// Who called.
        principal: Principal,
        /// What was called.
        path: String,
        /// What to do about it.
        fix: &'static str,
    },
}

impl From<AccessError> for Status {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Forbidden { .. } => Self::permission_denied(error.to_string()),
            _ => Self::unauthenticated(error.to_string()),
        }
    }
}

/// The table of rights: roles that may call a service, by the beginning of the path. First match decides; no match: refused.
const RIGHTS: &[(&str, &[Role], &str)] = &[
    (
        "/andromede.agent.v1.AgentService/",
        &[Role::Host, Role::Anonymous],
        "a session needs a host's certificate: `andromedectl pki issue --role host`",
    ),
    (
        "/andromede.v1.",
        &[Role::User, Role::Controller, Role::Anonymous],
        "use a user's certificate: `andromedectl pki issue --role user`",
    ),
    (
        "/grpc.",
        &[Role::User, Role::Controller, Role::Anonymous],
        "use a user's certificate: `andromedectl pki issue --role user`",
    ),
];

/// May the principal call this path?
pub fn authorise(principal: &Principal, path: &str) -> Result<(), AccessError> {
    let row = RIGHTS.iter().find(|(prefix, ..)| path.starts_with(prefix));
    match row {
        Some((_, roles, _)) if roles.contains(&principal.role) => Ok(()),
        _ => Err(AccessError::Forbidden {
            principal: principal.clone(),
            path: path.chars().take(NAME_BYTES).collect(),
            fix: row.map_or("this service does not exist", |(.., fix)| fix),
        }),
    }
}

/// Puts [`Guard`] before every service.
#[derive(Clone, Debug)]
pub struct GuardLayer {
    /// Are callers known by their certificates? Otherwise all are anonymous.
    pub tls: bool,
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, tls: self.tls }
    }
}

/// Finds out who calls, refuses what is not in the table, and hands the [`Principal`] on in the request's extensions.
#[derive(Clone, Debug)]
pub struct Guard<S> {
    inner: S,
    tls: bool,
}

impl<S> Guard<S> {
    fn admit(&self, request: &http::Request<Body>) -> Result<Principal, AccessError> {
        let principal = if self.tls {
            let info = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
            let certificates = info.and_then(TlsConnectInfo::peer_certs).map(Arc::unwrap_or_clone).unwrap_or_default();
            let certificate = certificates.first().ok_or(AccessError::NoCertificate)?;
            Principal::from_certificate(certificate)?
        } else {
            Principal::anonymous()
        };
        authorise(&principal, request.uri().path())?;
        Ok(principal)
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
        match self.admit(&request) {
            Ok(principal) => {
                request.extensions_mut().insert(principal);
                Box::pin(self.inner.call(request))
            }
            Err(error) => {
                tracing::warn!(%error, "call refused");
                let response = Status::from(error).into_http();
                Box::pin(async move { Ok(response) })
            }
        }
    }
}

/// The caller of a request that passed the guard.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Principal, Status> {
    let found = request.extensions().get::<Principal>().cloned();
    found.ok_or_else(|| AccessError::NoCertificate.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rcgen::{CertificateParams, KeyPair, SanType, string::Ia5String};

    use super::*;

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        for uri in uris {
            parameters.subject_alt_names.push(SanType::URI(Ia5String::try_from(*uri).unwrap()));
        }
        parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_principal_is_the_one_uri_of_the_certificate() {
        let found = Principal::from_certificate(&certificate(&["https://example.org/", "andromede://host/h1"]));
        assert_eq!(found, Ok(Principal { role: Role::Host, name: "h1".to_owned() }));
        let user = Principal::from_certificate(&certificate(&["andromede://user/alice@example.org"])).unwrap();
        assert_eq!(user.to_string(), "user/alice@example.org");
    }

    #[test]
    fn certificates_that_name_nobody_or_two_are_refused() {
        for uris in [&[][..], &["andromede://host/a", "andromede://host/b"]] {
            assert_eq!(Principal::from_certificate(&certificate(uris)), Err(AccessError::NoName), "{uris:?}");
        }
        for uri in ["andromede://admin/a", "andromede://host/", "andromede://host", "andromede://host/a/b"] {
            let refused = Principal::from_certificate(&certificate(&[uri]));
            assert_eq!(refused, Err(AccessError::Malformed { uri: uri.to_owned() }));
        }
        assert_eq!(Principal::from_certificate(b"junk"), Err(AccessError::Unreadable));
    }

    #[test]
    fn a_host_may_open_a_session_and_nothing_else() {
        let host = Principal { role: Role::Host, name: "h1".to_owned() };
        let user = Principal { role: Role::User, name: "alice".to_owned() };
        let session = "/andromede.agent.v1.AgentService/Session";
        assert_eq!(authorise(&host, session), Ok(()));
        assert!(authorise(&user, session).is_err());
        for path in [
            "/andromede.v1.FabricService/Apply",
            "/andromede.v1.PortService/GetPort",
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            assert!(authorise(&host, path).is_err(), "{path}");
            assert_eq!(authorise(&user, path), Ok(()), "{path}");
        }
        assert!(authorise(&user, "/andromede.local.v1.LocalService/AttachPort").is_err());
        assert!(authorise(&user, "").is_err());
    }
}
