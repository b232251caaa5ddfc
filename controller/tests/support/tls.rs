//! A controller behind mutual TLS, and whoever has a certificate.

use std::path::Path;

use andromede_controller::settings::ServeArgs;
use tonic::transport::{Channel, Error};

use super::{
    Controller,
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
