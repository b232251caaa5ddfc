//! Who calls: a role and a name, out of a certificate or a token.

use std::fmt;

use andromede_model::{HostName, TenantName};
use tonic::Status;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use super::bearer::BearerError;

/// Scheme of the URI in a certificate's subject alternative name.
const SCHEME: &str = "andromede://";
/// Most bytes of a principal's name.
const NAME_BYTES: usize = 128;

/// What somebody is trusted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs the fabric: may call everything that is for people and programs.
    Operator,
    /// Reads everything of the fabric, and writes nothing.
    NetworkEngineer,
    /// Reads and writes what belongs to one tenant.
    TenantAdmin(TenantName),
    /// Reads what belongs to one tenant.
    TenantReader(TenantName),
    /// The agent of a host. The number is that of the host to which the certificate was issued: a host that comes after it under
    /// the same name has another. None: the installation's own authority vouches for the name alone.
    Host(Option<u32>),
    /// A controller: it serves, and calls nobody yet.
    Controller,
    /// Whoever shows no certificate, where hosts may join.
    Stranger,
    /// Nobody was asked: plaintext on loopback.
    Anonymous,
}

impl Role {
    /// The role of a person or a program, by its name; for a role in one tenant that tenant's id is asked for.
    pub(super) fn of_user<'a>(kind: &str, tenant: impl FnOnce() -> Option<&'a str>) -> Option<Self> {
        let of_tenant = |role: fn(TenantName) -> Self| Some(role(format!("tenants/{}", tenant()?).parse().ok()?));
        match kind {
            "operator" => Some(Self::Operator),
            "network-engineer" => Some(Self::NetworkEngineer),
            "tenant-admin" => of_tenant(Self::TenantAdmin),
            "tenant-reader" => of_tenant(Self::TenantReader),
            _ => None,
        }
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its role.
    pub role: Role,
    /// Its name; empty for [`Role::Stranger`] and [`Role::Anonymous`].
    pub name: String,
}

impl Principal {
    /// The caller of a plaintext connection.
    pub const fn anonymous() -> Self {
        Self { role: Role::Anonymous, name: String::new() }
    }

    /// The caller of a connection without a certificate.
    pub const fn stranger() -> Self {
        Self { role: Role::Stranger, name: String::new() }
    }

    /// Does it speak for the host that has this name and number now?
    pub fn is_host(&self, host: &HostName, index: u32) -> bool {
        match self.role {
            Role::Host(issued) => self.name == host.id() && issued.is_none_or(|issued| issued == index),
            Role::Anonymous => true,
            _ => false,
        }
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

    /// Reads `andromede://ROLE/NAME`, for a tenant's roles `andromede://ROLE/TENANT/NAME`, for a host that joined
    /// `andromede://host/NAME/NUMBER`. What is not understood is nobody.
    fn from_uri(uri: &str) -> Result<Self, AccessError> {
        let shown = || uri.chars().take(NAME_BYTES).collect();
        let malformed = || AccessError::Malformed { uri: shown() };
        let mut parts = uri.strip_prefix(SCHEME).ok_or_else(malformed)?.split('/');
        let kind = parts.next().unwrap_or_default();
        let mut role = match kind {
            "host" => Role::Host(None),
            "controller" => Role::Controller,
            "user" => return Err(AccessError::NoRole { uri: shown() }),
            _ => Role::of_user(kind, || parts.next()).ok_or_else(malformed)?,
        };
        let name = parts.next().unwrap_or_default();
        if let Role::Host(number) = &mut role
            && let Some(text) = parts.next()
        {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            *number = Some(text.parse().ok().filter(|_| digits).ok_or_else(malformed)?);
        }
        if parts.next().is_some() || !Self::is_name(name) {
            return Err(malformed());
        }
        Ok(Self { role, name: name.to_owned() })
    }

    /// May somebody be called this?
    pub(super) fn is_name(name: &str) -> bool {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
        !name.is_empty() && name.len() <= NAME_BYTES && name.chars().all(allowed)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.role {
            Role::Operator => write!(f, "operator/{name}"),
            Role::NetworkEngineer => write!(f, "network-engineer/{name}"),
            Role::TenantAdmin(tenant) => write!(f, "tenant-admin/{}/{name}", tenant.id()),
            Role::TenantReader(tenant) => write!(f, "tenant-reader/{}/{name}", tenant.id()),
            Role::Host(_) => write!(f, "host/{name}"),
            Role::Controller => write!(f, "controller/{name}"),
            Role::Stranger => f.write_str("stranger"),
            Role::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// Why a caller is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The connection has no certificate.
    #[error(
        "no client certificate and no token; give --tls-cert and --tls-key, made by `andromedectl pki`, or --token-file"
    )]
    NoCertificate,
    /// The certificate cannot be parsed.
    #[error("the client certificate cannot be read as X.509; make one with `andromedectl pki`")]
    Unreadable,
    /// The certificate has no name that means something here, or several.
    #[error("the client certificate must carry one URI {SCHEME}ROLE/NAME; make one with `andromedectl pki`")]
    NoName,
    /// The name is that of a user of whom nobody said what they may do.
    #[error(
        "the client certificate's URI {uri:?} names a user without a role; \
         make another with `andromedectl pki user NAME --role ROLE`"
    )]
    NoRole {
        /// The URI, cut to a length that can be shown.
        uri: String,
    },
    /// The authority that issued the certificate speaks for hosts only.
    #[error("the client certificate was issued by the hosts' authority and is not that of a host that joined")]
    WrongIssuer,
    /// The name is malformed.
    #[error(
        "the client certificate's URI {uri:?} is not {SCHEME}ROLE/NAME with a role that is known, \
         or {SCHEME}tenant-admin|tenant-reader/TENANT/NAME; make another with `andromedectl pki`"
    )]
    Malformed {
        /// The URI, cut to a length that can be shown.
        uri: String,
    },
    /// The method is in no row of the table of rights.
    #[error("{path} is no method of this controller; compare the versions of both sides")]
    Unknown {
        /// What was called, cut to a length that can be shown.
        path: String,
    },
    /// The bearer token is not believed.
    #[error(transparent)]
    Bearer(#[from] BearerError),
    /// The principal may not call this.
    #[error("{principal} may not call {path}; these may: {allowed}")]
    Forbidden {
        /// Who called.
        principal: Principal,
        /// What was called.
        path: &'static str,
        /// The roles that may call it.
        allowed: String,
    },
}

impl From<AccessError> for Status {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Forbidden { .. } => Self::permission_denied(error.to_string()),
            AccessError::Unknown { .. } => Self::unimplemented(error.to_string()),
            AccessError::Bearer(BearerError::Keys) => Self::unavailable(error.to_string()),
            _ => Self::unauthenticated(error.to_string()),
        }
    }
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
        assert_eq!(found, Ok(Principal { role: Role::Host(None), name: "h1".to_owned() }));
        let joined = Principal::from_certificate(&certificate(&["andromede://host/h1/7"])).unwrap();
        assert_eq!(joined, Principal { role: Role::Host(Some(7)), name: "h1".to_owned() });
        assert_eq!(joined.to_string(), "host/h1", "it is the same host with its next certificate");
        let [h1, h2] = ["hosts/h1", "hosts/h2"].map(|name| name.parse().unwrap());
        assert!(joined.is_host(&h1, 7) && !joined.is_host(&h1, 8) && !joined.is_host(&h2, 7));
        for text in ["operator/alice@example.org", "network-engineer/bob", "tenant-admin/t/carol", "tenant-reader/t/d"]
        {
            let found = Principal::from_certificate(&certificate(&[&format!("andromede://{text}")])).unwrap();
            assert_eq!(found.to_string(), text);
        }
    }

    #[test]
    fn certificates_that_name_nobody_or_two_are_refused() {
        for uris in [&[][..], &["andromede://host/a", "andromede://host/b"]] {
            assert_eq!(Principal::from_certificate(&certificate(uris)), Err(AccessError::NoName), "{uris:?}");
        }
        let long = format!("andromede://operator/{}", "a".repeat(NAME_BYTES + 1));
        for uri in [
            "andromede://admin/a",
            "andromede://OPERATOR/a",
            "andromede:///a",
            "andromede://",
            "andromede://host/",
            "andromede://host",
            "andromede://host/a/b",
            "andromede://host/a/-1",
            "andromede://host/a/+1",
            "andromede://host/a/",
            "andromede://host/a/4294967296",
            "andromede://controller/a/1",
            "andromede://host/a/1/2",
            "andromede://host//1",
            "andromede://operator/tenants/a",
            "andromede://tenant-admin/a",
            "andromede://tenant-admin//a",
            "andromede://tenant-admin/-/a",
            "andromede://tenant-admin/t/a/b",
            "andromede://tenant-admin/t/",
            "andromede://operator/a%2fb",
            &long,
        ] {
            let refused = Principal::from_certificate(&certificate(&[uri]));
            assert!(matches!(refused, Err(AccessError::Malformed { .. })), "{uri}: {refused:?}");
        }
        let refused = Principal::from_certificate(&certificate(&["andromede://user/alice"]));
        assert!(matches!(refused, Err(AccessError::NoRole { .. })), "no role is none: {refused:?}");
        assert_eq!(Principal::from_certificate(b"junk"), Err(AccessError::Unreadable));
    }
}
