//! The way to the agent.

use std::{path::Path, time::Duration};

use andromede_proto::local::v1::pod_service_client::PodServiceClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint, Uri},
};

use crate::error::{CniError, code};

/// How long the agent may take for one command. A runtime has less patience with a container than with its plugin.
const PATIENCE: Duration = Duration::from_secs(90);

/// Dials the agent.
pub(crate) async fn dial(socket: &Path) -> Result<PodServiceClient<Channel>, CniError> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The address is never dialled: the connector knows the socket.
    let endpoint = Endpoint::from_static("http://localhost").timeout(PATIENCE);
    let channel = endpoint.connect_with_connector(connector).await;
    channel.map(PodServiceClient::new).map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        away(format!("{}: {cause}; is andromede-agent running?", socket.display()))
    })
}

/// The agent is there, but did not answer.
pub(crate) fn silent(status: &Status) -> CniError {
    if status.code() == Code::Unimplemented {
        return away("the agent is older than this plugin; upgrade it".to_owned());
    }
    away(format!("{}: {}", status.code(), status.message()))
}

fn away(details: String) -> CniError {
    CniError::new(code::TRY_AGAIN, "the agent of this host does not answer", details)
}
