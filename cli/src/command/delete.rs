//! `andromedectl delete`.

use std::path::PathBuf;

use andromede_proto::v1::ApplyRequest;
use clap::Args;
use tonic::Code;

use super::{apply::write, get::kind_and_names};
use crate::{
    bundle::Bundle,
    change,
    connection::{Channel, Connection},
    failure::Failure,
    kind::Kind,
    output::Format,
    resources,
    scope::Scope,
    terminal::{self, Palette},
    wait::Wait,
};

/// Deletes resources, all in one commit; what others still refer to, or that others are in, is refused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  andromedectl delete port web -n mairie/intranet\n  \
                        andromedectl delete tenants/mairie/networks/intranet/ports/web --wait\n  \
                        andromedectl delete -f examples/two-tenants.yaml --dry-run")]
pub(crate) struct Delete {
    /// Kind of resource, or a whole resource name
    #[arg(required_unless_present = "files")]
    kind: Option<String>,
    /// Names
    names: Vec<String>,
    /// Delete all that these files hold
    #[arg(short, long = "file", value_name = "FILE", conflicts_with_all = ["kind", "names"])]
    files: Vec<PathBuf>,
    /// Pass over resources that are not there
    #[arg(long)]
    ignore_not_found: bool,
    /// Check whether it may be done and tell what would be, but change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    wait: Wait,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Delete {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection, palette: Palette) -> Result<(), Failure> {
        let mut wanted = match &self.kind {
            Some(first) => {
                let (kind, names) = kind_and_names(first, &self.names)?;
                if names.is_empty() {
                    return Err(Failure::Usage(format!("which {}? give names", kind.singular())));
                }
                names.into_iter().map(|name| (kind, name)).collect()
            }
            None => Bundle::read(&self.files)?.names(),
        };
        // What refers to others goes first: so it is told, although all go together.
        wanted.reverse();
        let channel = connection.dial().await?;
        let deleted = self.there(&channel, &wanted).await?;
        if deleted.is_empty() {
            return terminal::print("nothing to delete\n");
        }
        let request = ApplyRequest { deleted, validate_only: self.dry_run, ..ApplyRequest::default() };
        let answer = write(&channel, request).await?;
        terminal::print(&change::told(&answer, self.dry_run, self.output, palette)?)?;
        if self.dry_run { Ok(()) } else { self.wait.run(connection, &channel, answer.revision).await }
    }

    /// Whole names; with `--ignore-not-found` only of those that exist.
    async fn there(&self, channel: &Channel, wanted: &[(Kind, String)]) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for (kind, name) in wanted {
            let name = match self.scope.resolve(channel, *kind, name).await {
                Err(Failure::NotFound(_)) if self.ignore_not_found => continue,
                other => other?,
            };
            if self.ignore_not_found {
                match resources::get(channel, *kind, &name).await {
                    Err(status) if status.code() == Code::NotFound => continue,
                    found => drop(found?),
                }
            }
            names.push(name);
        }
        Ok(names)
    }
}
