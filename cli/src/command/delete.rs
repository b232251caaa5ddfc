//! `andromedectl delete`.

use std::path::PathBuf;

use clap::Args;
use tonic::{Code, transport::Channel};

use super::get::kind_and_names;
use crate::{
    bundle::Bundle,
    connection::Connection,
    failure::Failure,
    kind::Kind,
    resources,
    scope::Scope,
    terminal::{self, Palette},
    wait::Wait,
};

/// Deletes resources; one that others still refer to is refused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  andromedectl delete port web -n mairie/intranet\n  \
                        andromedectl delete tenants/mairie/networks/intranet/ports/web --wait\n  \
                        andromedectl delete -f examples/two-tenants.yaml")]
pub(crate) struct Delete {
    /// Kind of resource, or a whole resource name
    #[arg(required_unless_present = "files")]
    kind: Option<String>,
    /// Names
    names: Vec<String>,
    /// Delete what these files hold, ports before networks before tenants; each in a commit of its own
    #[arg(short, long = "file", value_name = "FILE", conflicts_with_all = ["kind", "names"])]
    files: Vec<PathBuf>,
    /// Say nothing of resources that are not there
    #[arg(long)]
    ignore_not_found: bool,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    wait: Wait,
}

impl Delete {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection, palette: Palette) -> Result<(), Failure> {
        let mut revision = None;
        let channel;
        if let Some(first) = &self.kind {
            let (kind, names) = kind_and_names(first, &self.names)?;
            if names.is_empty() {
                return Err(Failure::Usage(format!("which {}? give names", kind.singular())));
            }
            channel = connection.dial().await?;
            for name in &names {
                let name = match self.scope.resolve(&channel, kind, name).await {
                    Err(Failure::NotFound(_)) if self.ignore_not_found => continue,
                    other => other?,
                };
                revision = self.delete(&channel, kind, &name).await?.or(revision);
            }
        } else {
            let names = Bundle::read(&self.files)?.names();
            channel = connection.dial().await?;
            for (kind, name) in names.iter().rev() {
                revision = self.delete(&channel, *kind, name).await?.or(revision);
            }
        }
        match revision {
            Some(revision) => self.wait.run(&channel, revision, palette).await,
            None => Ok(()),
        }
    }

    /// Deletes one; none if it was not there, and that is well.
    async fn delete(&self, channel: &Channel, kind: Kind, name: &str) -> Result<Option<u64>, Failure> {
        match resources::delete(channel, kind, name).await {
            Ok(revision) => {
                terminal::print(&format!("{} {name} deleted, revision {revision}\n", kind.singular()))?;
                Ok(Some(revision))
            }
            Err(status) if status.code() == Code::NotFound && self.ignore_not_found => Ok(None),
            Err(status) => Err(status.into()),
        }
    }
}
