//! The controller: what there is in a network, told for ever, and what is written.

use std::{path::PathBuf, time::Duration};

use andromede_model::NetworkName;
use andromede_proto::v1::{
    ApplyRequest, Resource, WatchRequest, WatchResponse, fabric_service_client::FabricServiceClient,
};
use tokio::sync::mpsc;
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

/// How long the controller may take to answer a write.
const PATIENCE: Duration = Duration::from_secs(30);
/// Silence after which the connection is probed, and then given up.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// How long is waited before a watch that ended is begun again.
const AGAIN: Duration = Duration::from_secs(1);
/// Bytes of one message: a part of the state has at most a thousand resources.
const MESSAGE: usize = 64 << 20;

/// Where the controller is, and who calls.
#[derive(Clone, Debug)]
pub struct Controller {
    /// URL.
    pub url: String,
    /// PEM files: authority, certificate, key; none: plaintext, for a controller on loopback.
    pub tls: Option<[PathBuf; 3]>,
}

/// Why the controller cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// A file of TLS.
    #[error("{path}: cannot read it: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The answer of the file system.
        source: std::io::Error,
    },
    /// The address, or what is in the files.
    #[error("the controller {url} cannot be called: {source}")]
    Address {
        /// The URL.
        url: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// Plaintext beyond this machine.
    #[error("--controller {0}: plaintext is allowed on loopback only; use https, or 127.0.0.1 or [::1]")]
    NotLoopback(String),
}

impl Controller {
    /// A channel that connects when it is used, and again when it broke.
    pub fn channel(&self) -> Result<Channel, DialError> {
        let wrong = |source| DialError::Address { url: self.url.clone(), source };
        let mut endpoint = Endpoint::from_shared(self.url.clone())
            .map_err(wrong)?
            .connect_timeout(PATIENCE)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        if let Some(files) = &self.tls {
            let [ca, certificate, key] = files.each_ref().map(read);
            let identity = Identity::from_pem(certificate?, key?);
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca?)).identity(identity);
            endpoint = endpoint.tls_config(tls).map_err(wrong)?;
        } else {
            let host = endpoint.uri().host().unwrap_or_default().trim_matches(['[', ']']);
            if !host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback()) {
                return Err(DialError::NotLoopback(self.url.clone()));
            }
        }
        Ok(endpoint.connect_lazy())
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, DialError> {
    std::fs::read(path).map_err(|source| DialError::File { path: path.clone(), source })
}

/// Something that the controller told of a network.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) network: NetworkName,
    /// What was told before is not to be relied on: all there is follows.
    pub(crate) anew: bool,
    pub(crate) written: Vec<Resource>,
    pub(crate) deleted: Vec<String>,
}

/// Watches a network for ever.
pub(crate) async fn watch(channel: Channel, network: NetworkName, told: mpsc::Sender<Told>) {
    let mut after = 0;
    loop {
        match follow(&channel, &network, &mut after, &told).await {
            Ok(()) => return,
            Err(status) => {
                tracing::warn!(%network, reason = status.message(), "the controller does not tell of the network; asked again");
                if status.code() == Code::OutOfRange || status.code() == Code::InvalidArgument {
                    after = 0;
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Follows one stream; ends well only when nobody listens any more.
async fn follow(
    channel: &Channel,
    network: &NetworkName,
    after: &mut u64,
    told: &mpsc::Sender<Told>,
) -> Result<(), Status> {
    let mut client = FabricServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE);
    let request = WatchRequest { after_revision: *after, parent: network.to_string() };
    let mut stream = client.watch(request).await?.into_inner();
    let mut anew = *after == 0;
    while let Some(WatchResponse { revision, written, deleted, snapshot }) = stream.message().await? {
        let part = Told { network: network.clone(), anew: std::mem::take(&mut anew), written, deleted };
        if told.send(part).await.is_err() {
            return Ok(());
        }
        // A state that was told in part is asked for again from its beginning.
        if !snapshot {
            *after = revision;
        }
    }
    Err(Status::unavailable("the stream ended"))
}

/// Writes: all of it, or nothing.
pub(crate) async fn apply(channel: &Channel, resources: Vec<Resource>, deleted: Vec<String>) -> Result<u64, Status> {
    let mut client = FabricServiceClient::new(channel.clone()).max_encoding_message_size(MESSAGE);
    let mut request = tonic::Request::new(ApplyRequest { resources, deleted, ..ApplyRequest::default() });
    request.set_timeout(PATIENCE);
    Ok(client.apply(request).await?.into_inner().revision)
}
