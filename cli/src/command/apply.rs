//! `andromedectl apply`.

use std::{fmt::Write as _, path::PathBuf};

use andromede_proto::v1::{
    ApplyRequest, ApplyResponse, fabric_service_client::FabricServiceClient, resource_change::Kind as Change,
};
use clap::Args;

use crate::{
    bundle::Bundle,
    connection::Connection,
    failure::{Failure, violations},
    kind::Kind,
    output::Format,
    terminal::{self, Palette},
    wait::Wait,
};

/// Most bytes of a request; the server has a limit of its own and says so.
const MAX_REQUEST: usize = 256 << 20;

/// Creates or replaces resources from files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  andromedectl apply -f examples/two-tenants.yaml\n  \
                        andromedectl apply -f hosts.yaml -f tenants/ --dry-run\n  \
                        andromedectl get ports -n mairie/intranet -o yaml | sed s/hosts.h1/hosts\\\\/h2/ | andromedectl apply -f - --wait")]
pub(crate) struct Apply {
    /// A YAML file of one or more documents, a folder of such files, or - for standard input; may be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Check everything and tell what would be done, but change nothing
    #[arg(long)]
    dry_run: bool,
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
        let request = ApplyRequest { resources: bundle.resources.clone(), validate_only: self.dry_run };
        let mut client = FabricServiceClient::new(channel.clone())
            .max_encoding_message_size(MAX_REQUEST)
            .max_decoding_message_size(crate::resources::MAX_ANSWER);
        let answer = client.apply(request).await.map_err(|status| match violations(&status) {
            found if found.is_empty() => Failure::from(status),
            found => bundle.explain(&found),
        })?;
        let answer = answer.into_inner();
        let text = match self.output.machine(&answer)? {
            Some(text) => text,
            None if self.output == Format::Name => terminal::lines(answer.changes.iter().map(|it| it.name.as_str())),
            None => self.told(&answer, palette),
        };
        terminal::print(&text)?;
        if self.dry_run { Ok(()) } else { self.wait.run(&channel, answer.revision, palette).await }
    }

    fn told(&self, answer: &ApplyResponse, palette: Palette) -> String {
        let mut text = String::new();
        let mut counts = [0_usize; 3];
        for change in &answer.changes {
            let kind = Kind::from_name(&change.name).map_or("resource", Kind::singular);
            let verb = match change.kind() {
                Change::Created => palette.good("created"),
                Change::Updated => palette.pending("updated"),
                Change::Unchanged => palette.faint("unchanged"),
                Change::Deleted => palette.bad("deleted"),
                Change::Unspecified => "touched".to_owned(),
            };
            match change.kind() {
                Change::Created => counts[0] += 1,
                Change::Unchanged => counts[2] += 1,
                Change::Updated | Change::Deleted | Change::Unspecified => counts[1] += 1,
            }
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{kind} {} {verb}", change.name);
        }
        let [created, updated, unchanged] = counts;
        let counted = format!("{created} created, {updated} updated, {unchanged} unchanged");
        if self.dry_run {
            let _ = writeln!(text, "dry run, nothing was changed: {counted}");
        } else {
            let _ = writeln!(text, "revision {}: {counted}", answer.revision);
        }
        text
    }
}
