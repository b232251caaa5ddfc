//! `andromedectl apply`.

use std::path::PathBuf;

use andromede_proto::v1::{ApplyRequest, ApplyResponse, fabric_service_client::FabricServiceClient};
use clap::Args;
use tonic::Status;

use crate::{
    bundle::Bundle,
    change,
    connection::{Channel, Connection},
    failure::{Failure, violations},
    output::Format,
    resources::MAX_ANSWER,
    terminal::{self, Palette},
    wait::Wait,
};

/// Most bytes of a request; the server has a limit of its own and says so.
pub(super) const MAX_REQUEST: usize = 256 << 20;

/// Creates or replaces resources from files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  andromedectl apply -f examples/two-tenants.yaml\n  \
                        andromedectl apply -f hosts.yaml -f tenants/ --dry-run\n  \
                        sed s/h1/h2/ ports.yaml | andromedectl apply -f - --wait=all")]
pub(crate) struct Apply {
    /// A YAML file of one or more documents, a folder of such files, or - for standard input; may be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Check everything and tell what would be done, but change nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete resources with this label that the files do not hold
    #[arg(long, value_name = "KEY=VALUE")]
    prune: Option<String>,
    /// Do it only if the last commit has this revision: what was planned is what is done
    #[arg(long, value_name = "REVISION")]
    planned_revision: Option<u64>,
    /// Known when it is repeated: a second apply with the same id and files gives the answer of the first
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    #[command(flatten)]
    wait: Wait,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Apply {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection, palette: Palette) -> Result<(), Failure> {
        let bundle = Bundle::read(&self.files)?;
        let channel = connection.dial().await?;
        let request = ApplyRequest {
            resources: bundle.resources.clone(),
            validate_only: self.dry_run,
            prune: self.prune.clone().unwrap_or_default(),
            planned_revision: self.planned_revision.unwrap_or_default(),
            request_id: self.request_id.clone().unwrap_or_default(),
            ..ApplyRequest::default()
        };
        let answer = write(&channel, request).await.map_err(|status| match violations(&status) {
            found if found.is_empty() => Failure::from(status),
            found => bundle.explain(&found, &status),
        })?;
        terminal::print(&change::told(&answer, self.dry_run, self.output, palette)?)?;
        if self.dry_run { Ok(()) } else { self.wait.run(connection, &channel, answer.revision).await }
    }
}

/// Makes one write.
pub(super) async fn write(channel: &Channel, request: ApplyRequest) -> Result<ApplyResponse, Status> {
    let mut client = FabricServiceClient::new(channel.clone())
        .max_encoding_message_size(MAX_REQUEST)
        .max_decoding_message_size(MAX_ANSWER);
    Ok(client.apply(request).await?.into_inner())
}
