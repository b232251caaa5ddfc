//! `andromedectl host drain|activate|fence|remove`: what a host may be used for, said to the controller.

use andromede_proto::v1::{
    self, HostState, ListRequest, RemoveHostRequest, UpdateHostRequest, host_service_client::HostServiceClient,
    port_service_client::PortServiceClient, subnet_service_client::SubnetServiceClient,
};
use clap::Args;
use prost_types::FieldMask;
use tonic::Code;

use crate::{
    bundle::count,
    change,
    connection::{Channel, Connection},
    failure::Failure,
    kind::Kind,
    output::Format,
    resources::MAX_ANSWER,
    scope::{short, whole},
    terminal::{self, Palette},
    wait::Wait,
};

/// Most ports and subnets that are named.
const NAMED: usize = 20;

/// A host, and how long to wait.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Host: h1
    host: String,
    #[command(flatten)]
    wait: Wait,
}

/// A host that goes.
#[derive(Debug, Args)]
pub(crate) struct Removal {
    #[command(flatten)]
    target: Target,
    /// Take off what is on it: its ports are placed nowhere, its leased subnets are nobody's, and the ports of its pods are deleted
    #[arg(long)]
    release: bool,
    /// Check everything and tell what would be done, but change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Target {
    fn name(&self) -> Result<String, Failure> {
        let id = self.host.strip_prefix("hosts/").unwrap_or(&self.host);
        whole(Kind::Host, &format!("hosts/{id}"))
    }

    /// Says what the host may be used for from now on, and tells what is on it.
    pub(crate) async fn set(&self, state: HostState, connection: &Connection, output: Format) -> Result<(), Failure> {
        let name = self.name()?;
        let channel = connection.dial().await?;
        let wanted = v1::Host { name: name.clone(), state: state.into(), ..v1::Host::default() };
        let update_mask = Some(FieldMask { paths: vec!["state".to_owned()] });
        let request = UpdateHostRequest { host: Some(wanted), update_mask, ..UpdateHostRequest::default() };
        let host = HostServiceClient::new(channel.clone()).update_host(request).await?.into_inner();
        let text = match output.machine(&host)? {
            Some(text) => text,
            None if output == Format::Name => format!("{name}\n"),
            None => in_words(&host, &on(&channel, &name).await?),
        };
        terminal::print(&text)?;
        self.wait.run(connection, &channel, host.revision).await
    }
}

impl Removal {
    /// Deletes the host with what is on it.
    pub(crate) async fn run(&self, connection: &Connection, output: Format, palette: Palette) -> Result<(), Failure> {
        let name = self.target.name()?;
        let channel = connection.dial().await?;
        let (release, validate_only) = (self.release, self.dry_run);
        let request = RemoveHostRequest { name: name.clone(), release, validate_only, ..RemoveHostRequest::default() };
        let mut client = HostServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let answer = match client.remove_host(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::FailedPrecondition && !self.release => {
                let there = on(&channel, &name).await?;
                let fix = "--release takes it off once the host was fenced";
                return Err(Failure::Refused(format!("{}\n{}{fix}", status.message(), listed(&there))));
            }
            Err(status) => return Err(status.into()),
        };
        terminal::print(&change::told(&answer, self.dry_run, output, palette)?)?;
        if self.dry_run { Ok(()) } else { self.target.wait.run(connection, &channel, answer.revision).await }
    }
}

/// The ports and leased subnets of a host, by name.
async fn on(channel: &Channel, host: &str) -> Result<Vec<String>, Failure> {
    let first = ListRequest { filter: format!("host = \"{host}\""), page_size: 1_000, ..ListRequest::default() };
    let mut names = Vec::new();
    let mut request = first.clone();
    let mut subnets = SubnetServiceClient::new(channel.clone());
    loop {
        let page = subnets.list_subnets(request.clone()).await?.into_inner();
        names.extend(page.subnets.into_iter().map(|it| it.name));
        if page.next_page_token.is_empty() || page.next_page_token == request.page_token {
            break;
        }
        request.page_token = page.next_page_token;
    }
    request = first;
    let mut ports = PortServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER);
    loop {
        let page = ports.list_ports(request.clone()).await?.into_inner();
        names.extend(page.ports.into_iter().map(|it| it.name));
        if page.next_page_token.is_empty() || page.next_page_token == request.page_token {
            return Ok(names);
        }
        request.page_token = page.next_page_token;
    }
}

fn in_words(host: &v1::Host, there: &[String]) -> String {
    let what = match host.state() {
        HostState::Draining => "is draining: nothing new is placed on it",
        HostState::Fenced => "is fenced: it belongs to no network any more, and its certificate opens nothing",
        HostState::Active | HostState::Unspecified => "is active",
    };
    let left = match (there.is_empty(), host.state()) {
        (true, _) => "nothing is on it\n".to_owned(),
        (false, HostState::Active | HostState::Unspecified) => String::new(),
        (false, _) => format!("still on it, {}:\n{}", count(there.len(), "resource"), listed(there)),
    };
    format!("host {} {what}\nrevision {}\n{left}", host.name, host.revision)
}

/// The first of them, a line each.
fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let more = (more > 0).then(|| format!("and {more} more"));
    let lines = names.iter().take(NAMED).map(|name| short(name)).chain(more);
    lines.fold(String::new(), |text, line| text + "  " + &line + "\n")
}
