//! A controller behind mutual TLS, and whoever has a certificate.

use std::path::Path;

use andromede_controller::settings::{ServeArgs, TokenArgs};
use tonic::transport::{Channel, Error};

use super::{
    Controller,
    issuer::{AUDIENCE, ISSUER},
    pki::{Authority, Issued, write},
    plaintext,
};

/// Arguments for a controller with a certificate of this authority.
pub fn mutual_tls(folder: &Path, authority: &Authority) -> ServeArgs {
    let issued = authority.issue("andromede://controller/c1");
    ServeArgs {
        tls_cert: Some(write(folder, "controller.pem", &issued.certificate)),
        tls_key: Some(write(folder, "controller.key", &issued.key)),
        client_ca: Some(write(folder, "ca.pem", &authority.pem())),
        insecure_plaintext: false,
        ..plaintext(&folder.join("store"))
    }
}

/// The same, where bearer tokens are taken whose keys are these.
pub fn with_tokens(folder: &Path, authority: &Authority, keys: &str) -> ServeArgs {
    let tokens = TokenArgs {
        token_keys: Some(write(folder, "keys.json", keys)),
        token_issuer: Some(ISSUER.to_owned()),
        token_audience: Some(AUDIENCE.to_owned()),
        ..TokenArgs::default()
    };
    ServeArgs { tokens, ..mutual_tls(folder, authority) }
}

/// Connects with a certificate, or without any.
pub async fn connect(
    controller: &Controller,
    authority: &Authority,
    issued: Option<&Issued>,
) -> Result<Channel, Error> {
    let endpoint = Channel::from_shared(format!("https://{}", controller.address)).unwrap();
    endpoint.tls_config(authority.client(issued)).unwrap().connect().await
}

/// Connects as a principal: what stands behind the scheme of the URI.
pub async fn connect_as(controller: &Controller, authority: &Authority, principal: &str) -> Channel {
    let issued = authority.issue(&format!("andromede://{principal}"));
    connect(controller, authority, Some(&issued)).await.unwrap()
}
