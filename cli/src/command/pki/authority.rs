//! Making and signing certificates (RFC 5280), ECDSA on P-256.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType,
};
use time::OffsetDateTime;
use x509_parser::pem::parse_x509_pem;

use super::{SCHEME, address, files::Pem};
use crate::failure::Failure;

/// Certificates are valid from a little earlier on: clocks of hosts differ.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(5);

/// Makes an authority that can issue certificates for controllers, hosts and users, but no further authority.
pub(super) fn make(name: &str, validity: Duration) -> Result<Pem, Failure> {
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = OffsetDateTime::now_utc() - CLOCK_TOLERANCE;
    params.not_after = OffsetDateTime::now_utc() + validity;
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
    Ok(Pem { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// What a certificate shall say.
pub(super) struct Wanted<'a> {
    /// Name of the holder, for people.
    pub(super) name: &'a str,
    /// Role and name of the holder, as in its URI behind the scheme.
    pub(super) principal: &'a str,
    /// Does it serve, beside calling others?
    pub(super) serves: bool,
    /// Addresses and names under which it is dialled.
    pub(super) dialled: &'a [String],
    /// How long it is valid.
    pub(super) validity: Duration,
}

/// Issues a certificate.
pub(super) fn issue(authority: &Pem, wanted: &Wanted<'_>) -> Result<Pem, Failure> {
    let end = OffsetDateTime::now_utc() + wanted.validity;
    let authority_key = KeyPair::from_pem(&authority.key)
        .map_err(|error| Failure::Refused(format!("ca.key is not a private key in PEM: {error}")))?;
    let authority_end = check(authority, &authority_key)?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, authority_key)
        .map_err(|error| Failure::Refused(format!("ca.pem is not the certificate of an authority: {error}")))?;

    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(wanted.name);
    params.subject_alt_names = alternative_names(wanted)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if wanted.serves {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    params.use_authority_key_identifier_extension = true;
    params.not_before = OffsetDateTime::now_utc() - CLOCK_TOLERANCE;
    params.not_after = end.min(authority_end);
    let certificate = params.signed_by(&key, &issuer).map_err(|error| failed(&error))?;
    Ok(Pem { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Checks that certificate and key belong together and that the authority is still valid; returns until when.
fn check(authority: &Pem, key: &KeyPair) -> Result<OffsetDateTime, Failure> {
    let refused = |rule: &str| Failure::Refused(format!("ca.pem {rule}; andromedectl pki init makes an authority"));
    let (_, pem) = parse_x509_pem(authority.certificate.as_bytes()).map_err(|_| refused("is not PEM"))?;
    let certificate = pem.parse_x509().map_err(|_| refused("is not a certificate"))?;
    if certificate.public_key().raw != key.subject_public_key_info() {
        return Err(refused("and ca.key do not belong together"));
    }
    if !certificate.is_ca() {
        return Err(refused("is not the certificate of an authority"));
    }
    let end = certificate.validity().not_after.to_datetime();
    if end <= OffsetDateTime::now_utc() {
        return Err(refused(&format!("expired on {}", certificate.validity().not_after)));
    }
    Ok(end)
}

fn alternative_names(wanted: &Wanted<'_>) -> Result<Vec<SanType>, Failure> {
    let uri = format!("{SCHEME}{}", wanted.principal);
    let mut names = vec![SanType::URI(uri.try_into().map_err(|error| failed(&error))?)];
    for dialled in wanted.dialled {
        names.push(match address(dialled) {
            Some(address) => SanType::IpAddress(address),
            None if is_dns_name(dialled) => {
                SanType::DnsName(dialled.clone().try_into().map_err(|error| failed(&error))?)
            }
            None => {
                return Err(Failure::Usage(format!(
                    "--san {dialled:?} is neither an IP address nor a DNS name; give it without port or scheme"
                )));
            }
        });
    }
    Ok(names)
}

/// Letters, digits, '-' and '.' (RFC 1123, section 2.1), with '*' as a whole first label.
fn is_dns_name(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    rest.len() <= 253 && rest.split('.').all(label)
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn failed(error: &rcgen::Error) -> Failure {
    Failure::Refused(format!("the certificate cannot be made: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use x509_parser::prelude::GeneralName;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn wanted<'a>(principal: &'a str, dialled: &'a [String], validity: Duration) -> Wanted<'a> {
        let serves = principal.starts_with("controller/");
        Wanted { name: "name", principal, serves, dialled, validity }
    }

    #[test]
    fn a_certificate_names_its_role_and_is_signed() {
        let authority = make("test", 10 * DAY).unwrap();
        let issued = issue(&authority, &wanted("host/h1", &["192.0.2.1".into(), "h1.example.eu".into()], DAY)).unwrap();
        let (_, pem) = parse_x509_pem(issued.certificate.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let (_, ca) = parse_x509_pem(authority.certificate.as_bytes()).unwrap();
        let ca = ca.parse_x509().unwrap();
        assert!(ca.is_ca());
        assert!(!certificate.is_ca());
        assert!(certificate.verify_signature(Some(ca.public_key())).is_ok());
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert!(names.value.general_names.contains(&GeneralName::URI("andromede://host/h1")));
        assert!(names.value.general_names.contains(&GeneralName::IPAddress(&[192, 0, 2, 1])));
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth, "a host cannot pose as a controller");
    }

    #[test]
    fn nothing_outlives_its_authority() {
        let authority = make("test", DAY).unwrap();
        let issued = issue(&authority, &wanted("operator/alice", &[], 400 * DAY)).unwrap();
        let end = |pem: &str| {
            let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
            pem.parse_x509().unwrap().validity().not_after
        };
        assert_eq!(end(&issued.certificate), end(&authority.certificate));
    }

    #[test]
    fn a_foreign_key_is_refused() {
        let one = make("one", DAY).unwrap();
        let other = make("other", DAY).unwrap();
        let mixed = Pem { certificate: one.certificate, key: other.key };
        let Err(error) = issue(&mixed, &wanted("operator/alice", &[], DAY)) else { panic!("issued") };
        assert!(error.to_string().contains("do not belong together"), "{error}");
    }

    #[test]
    fn what_is_no_name_or_address_is_refused() {
        let authority = make("test", DAY).unwrap();
        for wrong in ["http://x", "a b", "", "-a", "x:7470", &"a".repeat(64)] {
            assert!(issue(&authority, &wanted("controller/c", &[wrong.to_owned()], DAY)).is_err(), "{wrong:?}");
        }
    }
}
