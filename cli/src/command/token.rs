//! `andromedectl host token`: by which a host gets its first certificate.

use std::time::Duration;

use andromede_proto::v1::{CreateJoinTokenRequest, join_token_service_client::JoinTokenServiceClient};
use clap::{Args, Subcommand};

use crate::{connection::Connection, duration, failure::Failure, kind::Kind, scope::whole, terminal};

/// Join tokens.
#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token by which one host gets its first certificate; asks the controller
    #[command(after_help = "The token goes to standard output, and nowhere else. It works once.\n\nExamples:\n  \
        (umask 077; andromedectl host token create h1 > h1.token)\n  \
        andromede-agent run --host h1 --join-token-file h1.token ...")]
    Create(Create),
}

#[derive(Debug, Args)]
struct Create {
    /// Host that may join by it: h1
    host: String,
    /// How long it is good for, at most a day: 10m, 1h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse)]
    ttl: Duration,
}

impl Token {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection) -> Result<(), Failure> {
        let TokenCommand::Create(create) = &self.command;
        let host = create.host.strip_prefix("hosts/").unwrap_or(&create.host);
        let request = CreateJoinTokenRequest {
            parent: whole(Kind::Host, &format!("hosts/{host}"))?,
            ttl_seconds: u32::try_from(create.ttl.as_secs()).unwrap_or(u32::MAX),
        };
        let channel = connection.dial().await?;
        let made = JoinTokenServiceClient::new(channel).create_join_token(request).await?.into_inner();
        terminal::print(&(made.token + "\n"))
    }
}
