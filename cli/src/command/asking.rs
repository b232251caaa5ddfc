//! What commands have in common that ask hosts what they see.

use andromede_proto::v1::diagnostics_service_client::DiagnosticsServiceClient;

use crate::{
    connection::{Channel, Connection},
    failure::Failure,
    kind::Kind,
    resources::MAX_ANSWER,
    scope::{Networks, Scope, whole},
};

/// Whom to ask, about what.
pub(super) struct Asking {
    /// The one host; "" for all.
    pub(super) host: String,
    /// The one port; "" for all.
    pub(super) port: String,
    /// The networks.
    pub(super) networks: Networks,
    /// The controller, which asks the hosts.
    pub(super) client: DiagnosticsServiceClient<Channel>,
}

impl Asking {
    /// Reads the names as they were given.
    pub(super) async fn new(
        connection: &Connection,
        scope: &Scope,
        host: Option<&str>,
        port: Option<&str>,
    ) -> Result<Self, Failure> {
        let host = host.map(host_name).transpose()?.unwrap_or_default();
        let channel = connection.dial().await?;
        let port = match port {
            Some(port) => scope.resolve(&channel, Kind::Port, port).await?,
            None => String::new(),
        };
        let networks = scope.networks(&channel).await?;
        let client = DiagnosticsServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        Ok(Self { host, port, networks, client })
    }
}

/// The full name of a host.
pub(super) fn host_name(name: &str) -> Result<String, Failure> {
    if name.contains('/') { whole(Kind::Host, name) } else { Ok(format!("hosts/{name}")) }
}
