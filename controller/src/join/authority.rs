//! The authority that issues certificates to hosts, and to nobody else: it is not the installation's own.

use std::{fmt, time::Duration};

use andromede_model::HostName;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, pem::Pem, prelude::FromDer as _};

/// Certificates are valid from a little earlier on: clocks of hosts differ.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(5);
/// Most bytes of a request: one for a key of any size that is in use has a few hundred.
const REQUEST_BYTES: usize = 8 << 10;

/// Why the authority cannot be used, or does not issue.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate.
    #[error("--host-ca: it is not the certificate of an authority in PEM; make it with `andromedectl pki hosts`")]
    Certificate,
    /// The key.
    #[error("--host-ca-key: it is not the private key of --host-ca in PEM; make both with `andromedectl pki hosts`")]
    Key,
    /// Its name is that of an authority whose word is worth more.
    #[error(
        "--host-ca: an authority in --client-ca has the same subject, so that nobody could tell which one issued a certificate; \
         make another with `andromedectl pki hosts --name NAME`"
    )]
    SameSubject,
    /// The request of a host.
    #[error("certificate_request: it is no PKCS #10 request in DER, signed with its own key")]
    Request,
    /// The certificate could not be made.
    #[error("the certificate cannot be made: {0}")]
    Issue(#[from] rcgen::Error),
}

/// The authority's certificate and key.
pub struct HostAuthority {
    issuer: Issuer<'static, KeyPair>,
    /// Its subject as in the certificates that it issues, DER.
    subject: Vec<u8>,
    /// When its own certificate ends.
    end: OffsetDateTime,
    /// How long what it issues is valid.
    validity: Duration,
}

impl fmt::Debug for HostAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its key is nobody's business.
        f.debug_struct("HostAuthority").field("end", &self.end).finish_non_exhaustive()
    }
}

impl HostAuthority {
    /// Reads certificate and key (PEM). `others` are the authorities whose certificates speak for users too.
    pub fn read(certificate: &str, key: &str, others: &[u8], validity: Duration) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key).map_err(|_| AuthorityError::Key)?;
        let pem = Pem::iter_from_buffer(certificate.as_bytes()).next().and_then(Result::ok);
        let pem = pem.ok_or(AuthorityError::Certificate)?;
        let parsed = pem.parse_x509().map_err(|_| AuthorityError::Certificate)?;
        if !parsed.is_ca() {
            return Err(AuthorityError::Certificate);
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(AuthorityError::Key);
        }
        let subject = parsed.subject().as_raw().to_vec();
        let same = |pem: Pem| pem.parse_x509().is_ok_and(|other| other.subject().as_raw() == subject);
        if Pem::iter_from_buffer(others).filter_map(Result::ok).any(same) {
            return Err(AuthorityError::SameSubject);
        }
        let end = parsed.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(|_| AuthorityError::Certificate)?;
        Ok(Self { issuer, subject, end, validity })
    }

    /// Was one of these certificates (DER) issued by it? With an authority that it made, and must not have, nobody gets around
    /// this: whatever leads to it was issued by it at the end. What cannot be read does not count: the TLS library has read all
    /// that does.
    pub fn issued<'a>(&self, mut chain: impl Iterator<Item = &'a [u8]>) -> bool {
        chain.any(|der| X509Certificate::from_der(der).is_ok_and(|(_, it)| it.issuer().as_raw() == self.subject))
    }

    /// A certificate (PEM) for a host, by the number that it has as long as it is there, with the key of the request (PKCS #10, DER).
    pub fn issue(&self, host: &HostName, index: u32, request: &[u8]) -> Result<String, AuthorityError> {
        if request.len() > REQUEST_BYTES {
            return Err(AuthorityError::Request);
        }
        // This also checks that whoever asks has the key. Nothing else of the request is taken.
        let request =
            CertificateSigningRequestParams::from_der(&request.into()).map_err(|_| AuthorityError::Request)?;
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, host.id());
        params.distinguished_name = name;
        params.subject_alt_names = vec![SanType::URI(format!("andromede://host/{}/{index}", host.id()).try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        // In proportion: what is left of a short one says when to ask for the next.
        params.not_before = OffsetDateTime::now_utc() - CLOCK_TOLERANCE.min(self.validity / 10);
        params.not_after = (OffsetDateTime::now_utc() + self.validity).min(self.end);
        Ok(params.signed_by(&request.public_key, &self.issuer)?.pem())
    }
}
