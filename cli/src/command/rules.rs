//! `andromedectl rules`: some rules of a security group, and not the others.

use std::path::PathBuf;

use andromede_proto::v1::{
    EditRulesRequest, EditRulesResponse, Resource, SecurityGroup,
    security_group_service_client::SecurityGroupServiceClient,
};
use clap::{Args, Subcommand};

use crate::{
    bundle::{Bundle, count},
    connection::{Channel, Connection},
    failure::Failure,
    kind::{Kind, name_of},
    output::Format,
    resources::MAX_ANSWER,
    scope::Scope,
    terminal,
    wait::Wait,
};

/// Adds, replaces and removes rules of a security group, and leaves its other rules alone.
#[derive(Debug, Args)]
pub(crate) struct Rules {
    #[command(subcommand)]
    command: RulesCommand,
    /// Check everything and tell what would be done, but change nothing
    #[arg(long, global = true)]
    dry_run: bool,
    /// Form of the output
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Add the rules of the groups in files, or put them in the place of those of the same name
    #[command(after_help = "Each group is changed by a call of its own; its labels are left alone.\n\nExamples:\n  \
                            andromedectl rules put -f more-rules.yaml --wait")]
    Put(Put),
    /// Remove rules by name
    #[command(after_help = "Examples:\n  andromedectl rules remove mairie/intranet/web http https\n  \
                            andromedectl rules remove web http -n mairie/intranet --ignore-not-found")]
    Remove(Remove),
}

#[derive(Debug, Args)]
struct Put {
    /// A YAML file of security groups, a folder of such files, or - for standard input; may be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Args)]
struct Remove {
    /// Security group: mairie/intranet/web
    group: String,
    /// Names of rules
    #[arg(required = true)]
    rules: Vec<String>,
    /// Rules that are not there are as good as removed
    #[arg(long)]
    ignore_not_found: bool,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    wait: Wait,
}

impl Rules {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection) -> Result<(), Failure> {
        let (requests, channel, wait) = match &self.command {
            RulesCommand::Put(put) => (put.requests()?, connection.dial().await?, &put.wait),
            RulesCommand::Remove(remove) => {
                let channel = connection.dial().await?;
                (vec![remove.request(&channel).await?], channel, &remove.wait)
            }
        };
        let mut revision = 0;
        for request in requests {
            revision = self.edit(&channel, request).await?;
        }
        if self.dry_run { Ok(()) } else { wait.run(connection, &channel, revision).await }
    }

    /// Edits one group, and tells what came of it.
    async fn edit(&self, channel: &Channel, request: EditRulesRequest) -> Result<u64, Failure> {
        let request = EditRulesRequest { validate_only: self.dry_run, ..request };
        let mut client = SecurityGroupServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let answer = client.edit_rules(request.clone()).await?.into_inner();
        let text = match self.output.machine(&answer)? {
            Some(text) => text,
            None if self.output == Format::Name => format!("{}\n", request.name),
            None => self.in_words(&request, &answer),
        };
        terminal::print(&text)?;
        Ok(answer.revision)
    }

    fn in_words(&self, request: &EditRulesRequest, answer: &EditRulesResponse) -> String {
        let rules = count(answer.rule_count as usize, "rule");
        let done = format!("{} put, {} removed", answer.rules.len(), request.remove.len());
        let dry = if self.dry_run { "dry run, nothing was changed: " } else { "" };
        format!("{dry}security group {}: {done}; revision {}: {rules}\n", request.name, answer.revision)
    }
}

impl Put {
    /// A call for each group.
    fn requests(&self) -> Result<Vec<EditRulesRequest>, Failure> {
        let request = |resource: Resource| {
            let group = SecurityGroup::try_from(resource).map_err(|other| {
                let name = name_of(&other);
                Failure::Usage(format!("{name:?} is no security group: `rules put` reads groups and nothing else"))
            })?;
            let SecurityGroup { name, etag, rules: put, .. } = group;
            Ok(EditRulesRequest { name, etag, put, ..EditRulesRequest::default() })
        };
        Bundle::read(&self.files)?.resources.into_iter().map(request).collect()
    }
}

impl Remove {
    async fn request(&self, channel: &Channel) -> Result<EditRulesRequest, Failure> {
        let name = self.scope.resolve(channel, Kind::SecurityGroup, &self.group).await?;
        let (allow_missing, remove) = (self.ignore_not_found, self.rules.clone());
        Ok(EditRulesRequest { name, remove, allow_missing, ..EditRulesRequest::default() })
    }
}
