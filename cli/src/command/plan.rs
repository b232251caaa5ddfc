//! `andromedectl plan`.

use std::path::PathBuf;

use andromede_proto::v1::{PlanRequest, PlanResponse, fabric_service_client::FabricServiceClient};
use clap::Args;
use tonic::Status;

use super::apply::MAX_REQUEST;
use crate::{
    bundle::Bundle,
    connection::{Channel, Connection},
    failure::{Failure, violations},
    output::Format,
    planned,
    resources::MAX_ANSWER,
    terminal::{self, Palette},
};

/// Shows what `apply` would do: resources field by field, hosts and ports, and how full tables become.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  andromedectl plan -f examples/two-tenants.yaml\n  \
                        andromedectl plan -f tenants/ --prune stack=intranet\n  \
                        andromedectl apply -f tenants/ --prune stack=intranet --planned-revision 42")]
pub(crate) struct Plan {
    /// A YAML file of one or more documents, a folder of such files, or - for standard input; may be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Delete resources with this label that the files do not hold
    #[arg(long, value_name = "KEY=VALUE")]
    prune: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Plan {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection, palette: Palette) -> Result<(), Failure> {
        let bundle = Bundle::read(&self.files)?;
        let channel = connection.dial().await?;
        let request = PlanRequest {
            resources: bundle.resources.clone(),
            prune: self.prune.clone().unwrap_or_default(),
            ..PlanRequest::default()
        };
        let answer = plan(&channel, request).await.map_err(|status| match violations(&status) {
            found if found.is_empty() => Failure::from(status),
            found => bundle.explain(&found, &status),
        })?;
        let text = match self.output.machine(&answer)? {
            Some(text) => text,
            None => planned::plan(&answer, palette),
        };
        terminal::print(&text)
    }
}

/// Asks for a plan.
pub(super) async fn plan(channel: &Channel, request: PlanRequest) -> Result<PlanResponse, Status> {
    let mut client = FabricServiceClient::new(channel.clone())
        .max_encoding_message_size(MAX_REQUEST)
        .max_decoding_message_size(MAX_ANSWER);
    Ok(client.plan(request).await?.into_inner())
}
