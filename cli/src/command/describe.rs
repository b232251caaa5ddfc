//! `andromedectl describe`: a resource and all that concerns it.

use std::{collections::BTreeMap, fmt::Write as _};

use andromede_proto::v1::{
    Action, Direction, Existing, HostStatus, ListDropsRequest, ListRuleHitsRequest, Port, Resource, Rule,
    diagnostics_service_client::DiagnosticsServiceClient, resource, rule::Remote,
};
use clap::Args;

use super::{drops, get::kind_and_names, hits, status::state, subnets};
use crate::{
    connection::{Channel, Connection},
    failure::Failure,
    kind::{Kind, name_of},
    output,
    resources::{self, MAX_ANSWER},
    scope::{Scope, last},
    table,
    terminal::{self, Palette},
    wait,
};

/// Shows a resource and all that concerns it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  andromedectl describe port web -n mairie/intranet\n  \
                        andromedectl describe sg web -n mairie/intranet\n  andromedectl describe host h1\n  \
                        andromedectl describe tenants/mairie/networks/intranet")]
pub(crate) struct Describe {
    /// Kind of resource, or a whole resource name
    kind: String,
    /// Names
    names: Vec<String>,
    #[command(flatten)]
    scope: Scope,
}

impl Describe {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection, palette: Palette) -> Result<(), Failure> {
        let (kind, names) = kind_and_names(&self.kind, &self.names)?;
        if names.is_empty() {
            return Err(Failure::Usage(format!("which {}? give names", kind.singular())));
        }
        let channel = connection.dial().await?;
        for (index, name) in names.iter().enumerate() {
            let name = self.scope.resolve(&channel, kind, name).await?;
            let resource = resources::get(&channel, kind, &name).await?;
            let page = Page { channel: &channel, palette };
            let text = page.write(kind, &resource).await?;
            terminal::print(&if index == 0 { text } else { format!("\n{text}") })?;
        }
        Ok(())
    }
}

/// What a page is made with.
struct Page<'a> {
    channel: &'a Channel,
    palette: Palette,
}

impl Page<'_> {
    async fn write(&self, kind: Kind, resource: &Resource) -> Result<String, Failure> {
        let mut text = output::documents(std::slice::from_ref(resource))?;
        let name = name_of(resource);
        match &resource.kind {
            Some(resource::Kind::Zone(_)) => {
                let hosts = self.children(Kind::Host, "").await?;
                self.section(
                    &mut text,
                    Kind::Host,
                    &those(hosts, |host| matches!(host, resource::Kind::Host(it) if it.zone == name)),
                );
            }
            Some(resource::Kind::Tenant(tenant)) => {
                self.heading(&mut text, "limits");
                let flows = match tenant.limits.unwrap_or_default().flows_per_host {
                    0 => "the share of the host's table".to_owned(),
                    most => most.to_string(),
                };
                let _ = writeln!(text, "connections on each host: {flows}");
                self.section(&mut text, Kind::Network, &self.children(Kind::Network, name).await?);
            }
            Some(resource::Kind::Network(_)) => {
                for kind in [Kind::Subnet, Kind::PrefixList, Kind::SecurityGroup, Kind::Port, Kind::Vtep] {
                    self.section(&mut text, kind, &self.children(kind, name).await?);
                }
            }
            Some(resource::Kind::Port(port)) => {
                self.port(&mut text, port).await?;
            }
            Some(resource::Kind::SecurityGroup(group)) => {
                text = format!("kind: SecurityGroup\nname: {name}\nrevision: {}\n", group.revision);
                let hits = self.hits(&mut text, name).await;
                self.rules(&mut text, &[(last(name), &group.rules)], hits.as_ref());
                let network = name.rsplit_once("/securityGroups/").map_or("", |(network, _)| network);
                let ports = self.children(Kind::Port, network).await?;
                let users = ports_where(ports, |port| port.security_groups.iter().any(|group| group == name));
                self.section(&mut text, Kind::Port, &users);
            }
            Some(resource::Kind::Host(_)) => {
                if let Some(status) = self.host_status(name).await? {
                    self.status(&mut text, &status);
                }
                let ports = self.children(Kind::Port, "").await?;
                self.section(&mut text, Kind::Port, &ports_where(ports, |port| port.host == name));
            }
            Some(resource::Kind::OperatorPolicy(policy)) => {
                let networks = if policy.networks.is_empty() { "all".to_owned() } else { policy.networks.join(", ") };
                text = format!(
                    "kind: OperatorPolicy\nname: {name}\nrevision: {}\nnetworks: {networks}\n",
                    policy.revision
                );
                let hits = self.hits(&mut text, name).await;
                self.rules(&mut text, &[(last(name), &policy.rules)], hits.as_ref());
            }
            Some(resource::Kind::Subnet(_)) => {
                self.heading(&mut text, "addresses");
                let network = name.rsplit_once("/subnets/").map_or("", |(network, _)| network);
                let found = subnets::list(self.channel, network, &format!("name = \"{name}\"")).await?;
                text.push_str(&subnets::table(&found, self.palette));
            }
            Some(resource::Kind::PrefixList(_) | resource::Kind::Vtep(_)) | None => {}
        }
        Ok(format!("{} {}\n{text}", self.palette.strong(kind.singular()), self.palette.strong(name)))
    }

    async fn children(&self, kind: Kind, parent: &str) -> Result<Vec<Resource>, Failure> {
        Ok(resources::list(self.channel, kind, parent).await?)
    }

    fn heading(&self, text: &mut String, title: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{}", self.palette.strong(title));
    }

    fn section(&self, text: &mut String, kind: Kind, found: &[Resource]) {
        self.heading(text, &format!("{}s", kind.singular()));
        text.push_str(&table::of(kind, found, false));
    }

    /// The rules of its groups, where it is, and what was dropped at it.
    async fn port(&self, text: &mut String, port: &Port) -> Result<(), Failure> {
        let mut groups = Vec::new();
        for name in &port.security_groups {
            if let Some(resource::Kind::SecurityGroup(group)) =
                resources::get(self.channel, Kind::SecurityGroup, name).await?.kind
            {
                groups.push(group);
            }
        }
        let rules: Vec<_> = groups.iter().map(|group| (last(&group.name), group.rules.as_slice())).collect();
        // What its groups count they count at all their ports: that belongs on the group's page.
        self.rules(text, &rules, None);
        if let Some(status) = self.host_status(&port.host).await? {
            self.status(text, &status);
        }
        self.heading(text, "drops");
        let mut client = DiagnosticsServiceClient::new(self.channel.clone());
        let request = ListDropsRequest { host: port.host.clone(), port: port.name.clone() };
        match client.list_drops(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                text.push_str(&match answer.counts.is_empty() {
                    true if !answer.errors.is_empty() => "unknown: its host did not answer\n".to_owned(),
                    true => "none\n".to_owned(),
                    false => drops::counts(&answer.counts, false),
                });
            }
            // The page is worth reading without them.
            Err(status) => {
                let _ = writeln!(text, "unknown: {}", status.message());
            }
        }
        Ok(())
    }

    async fn host_status(&self, host: &str) -> Result<Option<HostStatus>, Failure> {
        if host.is_empty() {
            return Ok(None);
        }
        Ok(wait::status(self.channel).await?.hosts.into_iter().find(|status| status.host == host))
    }

    fn status(&self, text: &mut String, status: &HostStatus) {
        self.heading(text, "host");
        let HostStatus { host, wanted_revision: wanted, applied_revision: applied, .. } = status;
        let ports = format!("{} of {} ports attached", status.ports_attached, status.ports);
        let _ = writeln!(text, "{host}: {}, applied revision {applied} of {wanted}, {ports}", state(status));
        if !status.error.is_empty() {
            let _ = writeln!(text, "{}", self.palette.bad(&status.error));
        }
    }

    /// The hits of the rules of a group or policy on all hosts, by number. The page is worth reading without them.
    async fn hits(&self, text: &mut String, owner: &str) -> Option<BTreeMap<u32, u64>> {
        let mut client = DiagnosticsServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let request = ListRuleHitsRequest { host: String::new(), owner: owner.to_owned() };
        match client.list_rule_hits(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                for silent in &answer.errors {
                    let _ = writeln!(text, "hits without those of {}: {}", silent.host, silent.error);
                }
                Some(hits::sums(&answer.rules))
            }
            Err(status) => {
                let _ = writeln!(text, "hits: unknown: {}", status.message());
                None
            }
        }
    }

    /// Rules in the order in which they are looked at, with what holds where none decides, and with their hits if they are known.
    fn rules(&self, text: &mut String, groups: &[(&str, &[Rule])], hits: Option<&BTreeMap<u32, u64>>) {
        for (direction, title) in [(Direction::Ingress, "ingress rules"), (Direction::Egress, "egress rules")] {
            self.heading(text, title);
            let mut rules: Vec<(&str, &Rule)> = groups
                .iter()
                .flat_map(|(group, rules)| rules.iter().map(move |rule| (*group, rule)))
                .filter(|(_, rule)| rule.direction() == direction)
                .collect();
            rules.sort_by_key(|(_, rule)| (priority(rule), rule.action() != Action::Deny, rule.number));
            let with_hits = |(group, rule): &(&str, &Rule)| {
                let mut row = rule_row(group, rule);
                row.extend(hits.map(|hits| hits.get(&rule.number).map(ToString::to_string).unwrap_or_default()));
                row
            };
            let mut rows: Vec<Vec<String>> = rules.iter().map(with_hits).collect();
            let default = if direction == Direction::Ingress { "deny" } else { "allow" };
            let any = || "any".to_owned();
            let none = String::new;
            rows.push(vec!["default".into(), none(), default.into(), any(), any(), any(), none(), none()]);
            let mut titles = vec!["PRIORITY", "RULE", "ACTION", "PROTOCOL", "PORTS", "REMOTE", "OPTIONS", "NUMBER"];
            if hits.is_some() {
                titles.push("HITS");
                rows.last_mut().unwrap_or(&mut Vec::new()).push(none());
            }
            text.push_str(&terminal::table(&titles, rows));
        }
    }
}

fn those(found: Vec<Resource>, wanted: impl Fn(&resource::Kind) -> bool) -> Vec<Resource> {
    found.into_iter().filter(|resource| resource.kind.as_ref().is_some_and(&wanted)).collect()
}

fn ports_where(ports: Vec<Resource>, wanted: impl Fn(&Port) -> bool) -> Vec<Resource> {
    those(ports, |kind| matches!(kind, resource::Kind::Port(port) if wanted(port)))
}

/// 0 means the default of the schema.
fn priority(rule: &Rule) -> u32 {
    if rule.priority == 0 { 1000 } else { rule.priority }
}

fn rule_row(group: &str, rule: &Rule) -> Vec<String> {
    let ports = match (rule.icmp_type, rule.icmp_code) {
        (Some(kind), Some(code)) => format!("type {kind} code {code}"),
        (Some(kind), None) => format!("type {kind}"),
        (None, _) if rule.ports.is_empty() => "any".to_owned(),
        (None, _) => rule.ports.join(","),
    };
    let remote = match &rule.remote {
        Some(Remote::RemoteCidr(cidr)) => cidr.clone(),
        Some(Remote::RemoteGroup(name)) => format!("group {}", last(name)),
        Some(Remote::RemotePrefixList(name)) => format!("list {}", last(name)),
        None => "any".to_owned(),
    };
    let options: Vec<&str> = [(rule.log, "log"), (rule.existing() == Existing::Keep, "keep")]
        .iter()
        .filter(|it| it.0)
        .map(|it| it.1)
        .collect();
    vec![
        priority(rule).to_string(),
        format!("{group}/{}", rule.name),
        match rule.action() {
            Action::Deny => "deny",
            Action::Pass => "pass",
            Action::Allow | Action::Unspecified => "allow",
        }
        .to_owned(),
        if rule.protocol.is_empty() { "any".to_owned() } else { rule.protocol.clone() },
        ports,
        remote,
        options.join(","),
        rule.number.to_string(),
    ]
}
