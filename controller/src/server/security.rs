//! Certificates and keys of the server.

use std::{path::Path, time::Duration};

use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::ServeError;
use crate::{
    join::{AuthorityError, HostAuthority},
    settings::ServeArgs,
};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// TLS with client certificates, or, on loopback and by an explicit flag, none.
pub(super) fn security(arguments: &ServeArgs) -> Result<Option<ServerTlsConfig>, ServeError> {
    if arguments.insecure_plaintext {
        if !arguments.listen.ip().is_loopback() {
            return Err(ServeError::PlaintextOffLoopback(arguments.listen));
        }
        return Ok(None);
    }
    let (Some(certificate), Some(key), Some(authority)) =
        (&arguments.tls_cert, &arguments.tls_key, &arguments.client_ca)
    else {
        return Err(ServeError::NoSecurity);
    };
    let identity = Identity::from_pem(read(certificate)?, read(key)?);
    let mut authorities = read(authority)?;
    if let Some(hosts) = &arguments.host_ca {
        authorities.push(b'\n');
        authorities.extend(read(hosts)?);
    }
    let tls = ServerTlsConfig::new().identity(identity).client_ca_root(Certificate::from_pem(authorities));
    // A host that joins has no certificate yet, and who calls by a token none at all. The guard lets others do nothing.
    let optional = arguments.host_ca.is_some() || arguments.tokens.token_keys.is_some();
    Ok(Some(tls.client_auth_optional(optional).timeout(HANDSHAKE)))
}

/// The authority that issues certificates to hosts that join, if there is one.
pub(super) fn host_authority(arguments: &ServeArgs) -> Result<Option<HostAuthority>, ServeError> {
    let (Some(certificate), Some(key)) = (&arguments.host_ca, &arguments.host_ca_key) else { return Ok(None) };
    let others = arguments.client_ca.as_deref().map(read).transpose()?.unwrap_or_default();
    let validity = Duration::from_secs(u64::from(arguments.host_certificate_seconds));
    let certificate = String::from_utf8(read(certificate)?).map_err(|_| AuthorityError::Certificate)?;
    let key = String::from_utf8(read(key)?).map_err(|_| AuthorityError::Key)?;
    Ok(Some(HostAuthority::read(&certificate, &key, &others, validity)?))
}

fn read(path: &Path) -> Result<Vec<u8>, ServeError> {
    std::fs::read(path).map_err(|source| ServeError::File { path: path.to_path_buf(), source })
}
