//! Certificates as `andromedectl pki` makes them.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    string::Ia5String,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    key: String,
}

pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        Self::named("andromede")
    }

    fn parameters(name: &str) -> CertificateParams {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters
    }

    pub fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let pem = key.serialize_pem();
        Self { issuer: CertifiedIssuer::self_signed(Self::parameters(name), key).unwrap(), key: pem }
    }

    /// Another that this one vouches for.
    pub fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let pem = key.serialize_pem();
        Self { issuer: CertifiedIssuer::signed_by(Self::parameters(name), key, &self.issuer).unwrap(), key: pem }
    }

    pub fn key(&self) -> String {
        self.key.clone()
    }

    pub fn issue(&self, uri: &str) -> Issued {
        let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        parameters.subject_alt_names.push(SanType::URI(Ia5String::try_from(uri).unwrap()));
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn client(&self, issued: Option<&Issued>) -> ClientTlsConfig {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.pem()));
        match issued {
            Some(issued) => tls.identity(Identity::from_pem(&issued.certificate, &issued.key)),
            None => tls,
        }
    }
}

pub fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}
