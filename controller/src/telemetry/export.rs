//! Sends spans to a collector, in batches.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tonic::{
    Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri},
};
use tonic_prost::ProstCodec;

use super::{
    Spans,
    otlp::{self, ExportRequest, ExportResponse, KeyValue, Resource, ResourceSpans, ScopeSpans},
};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Most spans of a batch.
const BATCH: usize = 512;
/// How long a batch is waited for, and how long the collector may take.
const PAUSE: Duration = Duration::from_secs(1);
/// See [`PAUSE`].
const PATIENCE: Duration = Duration::from_secs(5);

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address is none.
    #[error(
        "--otlp {0:?}: write https://HOST:PORT, or http://HOST:PORT with a loopback address: spans name tenants and callers"
    )]
    Address(String),
    /// The authority's certificate cannot be read.
    #[error("--otlp-ca {path}: {source}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It cannot be used.
    #[error("--otlp-ca: {0}")]
    Tls(#[from] tonic::transport::Error),
}

/// Where spans are sent.
#[derive(Clone, Debug)]
pub struct Collector(Endpoint);

impl Collector {
    /// At an address; over TLS with the authority that issued the collector's certificate.
    pub fn new(address: &str, authority: Option<&PathBuf>) -> Result<Self, TelemetryError> {
        let wrong = || TelemetryError::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| wrong())?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let endpoint = Endpoint::from(uri.clone()).connect_timeout(PATIENCE).timeout(PATIENCE);
        match (uri.scheme_str(), authority) {
            (Some("http"), None) if loopback => Ok(Self(endpoint)),
            (Some("https"), Some(path)) => {
                let read = std::fs::read(path);
                let pem = read.map_err(|source| TelemetryError::Authority { path: path.clone(), source })?;
                let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
                Ok(Self(endpoint.tls_config(tls)?))
            }
            _ => Err(wrong()),
        }
    }
}

/// Spans on their way to the collector.
#[derive(Debug)]
pub struct Exporter {
    collector: Collector,
    spans: mpsc::Receiver<otlp::Span>,
}

impl Exporter {
    /// With what makes its spans: a layer of the log.
    pub fn new(collector: Collector) -> (Spans, Self) {
        let (layer, spans) = Spans::new();
        (layer, Self { collector, spans })
    }

    /// Sends until it is told to stop, and then what is left.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        // It dials when there is something to send, and again after a failure.
        let mut client = Grpc::new(self.collector.0.connect_lazy());
        let mut failed = false;
        loop {
            let mut batch = Vec::new();
            let mut wait = Box::pin(timeout(PAUSE, async {
                while batch.len() < BATCH
                    && let Some(span) = self.spans.recv().await
                {
                    batch.push(span);
                }
            }));
            let ending = tokio::select! {
                _ = &mut wait => false,
                _ = &mut stop => true,
            };
            drop(wait);
            while ending && let Ok(span) = self.spans.try_recv() {
                batch.push(span);
            }
            if !batch.is_empty() {
                let sent = send(&mut client, batch).await;
                if let Err(error) = &sent
                    && !failed
                {
                    tracing::warn!(error = error.message(), "spans are not exported; it is tried again with the next");
                }
                failed = sent.is_err();
            }
            if ending {
                return;
            }
        }
    }
}

async fn send(client: &mut Grpc<Channel>, spans: Vec<otlp::Span>) -> Result<(), Status> {
    let text = |key, value: &str| KeyValue::new(key, otlp::Value::Text(value.to_owned()));
    let attributes =
        vec![text("service.name", "andromede-controller"), text("service.version", env!("CARGO_PKG_VERSION"))];
    let resource = Some(Resource { attributes });
    let request =
        ExportRequest { resource_spans: vec![ResourceSpans { resource, scope_spans: vec![ScopeSpans { spans }] }] };
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<ExportRequest, ExportResponse>::default();
    client.unary(Request::new(request), PathAndQuery::from_static(EXPORT), codec).await.map(drop)
}
