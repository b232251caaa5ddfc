//! `andromedectl hits`: how often rules decided.

use std::collections::BTreeMap;

use andromede_proto::v1::{
    ListRuleHitsRequest, ListRuleHitsResponse, RuleHits, diagnostics_service_client::DiagnosticsServiceClient,
};
use clap::Args;

use super::{as_far_as, asking::host_name, drops::rule, tell_silent};
use crate::{
    connection::Connection,
    failure::Failure,
    kind::Kind,
    output::Format,
    resources::MAX_ANSWER,
    scope::{Networks, Scope, last, short},
    terminal,
};

/// Shows how often rules decided.
#[derive(Debug, Args)]
#[command(
    after_help = "A hit is a new connection that a rule let be, or a packet that it refused. A host counts a rule from the moment \
                        it is in force there, until it is deleted or the host holds its network no more.\n\n\
                        Examples:\n  andromedectl hits -n mairie/intranet\n  andromedectl hits --group mairie/intranet/servers\n  \
                        andromedectl hits --group servers -n mairie/intranet -o wide\n  \
                        andromedectl hits --unused -n mairie/intranet"
)]
pub(crate) struct Hits {
    /// Only on this host
    #[arg(long)]
    host: Option<String>,
    /// Only the rules of this security group
    #[arg(short, long)]
    group: Option<String>,
    /// Only the rules of this policy of the operator
    #[arg(long, conflicts_with = "group")]
    policy: Option<String>,
    /// Only rules that decided nothing
    #[arg(long)]
    unused: bool,
    #[command(flatten)]
    scope: Scope,
    /// Form of the output; wide: each host by itself
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Hits {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection) -> Result<(), Failure> {
        let host = self.host.as_deref().map(host_name).transpose()?.unwrap_or_default();
        let channel = connection.dial().await?;
        let owner = match (&self.group, &self.policy) {
            (Some(group), _) => self.scope.resolve(&channel, Kind::SecurityGroup, group).await?,
            (None, Some(policy)) => self.scope.resolve(&channel, Kind::OperatorPolicy, policy).await?,
            (None, None) => String::new(),
        };
        let networks = self.scope.networks(&channel).await?;
        let mut client = DiagnosticsServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        let answer = client.list_rule_hits(ListRuleHitsRequest { host, owner }).await?.into_inner();
        let answer = self.narrowed(answer, &networks);
        tell_silent(&answer.errors);
        terminal::print(&told(&answer, self.output)?)
    }

    /// What was asked for. A rule is unused if it is on all hosts.
    fn narrowed(&self, mut answer: ListRuleHitsResponse, networks: &Networks) -> ListRuleHitsResponse {
        answer.rules.retain(|rule| networks.contain(network_of(rule)));
        if self.unused {
            let sums = sums(&answer.rules);
            answer.rules.retain(|rule| sums.get(&rule.rule_number) == Some(&0));
        }
        answer
    }
}

/// The network of a rule; "" if the rule is the operator's.
fn network_of(rule: &RuleHits) -> &str {
    rule.owner.rsplit_once("/securityGroups/").map_or("", |(network, _)| network)
}

/// The hits of each rule on all hosts together, by the number of the rule.
pub(super) fn sums(rules: &[RuleHits]) -> BTreeMap<u32, u64> {
    let mut sums = BTreeMap::new();
    for rule in rules {
        let sum: &mut u64 = sums.entry(rule.rule_number).or_default();
        *sum = sum.saturating_add(rule.hits);
    }
    sums
}

/// Hits in the form that was asked for.
pub(super) fn told(answer: &ListRuleHitsResponse, format: Format) -> Result<String, Failure> {
    Ok(match format.machine(answer)? {
        Some(text) => text,
        None if answer.rules.is_empty() => format!("no rule is counted{}\n", as_far_as(&answer.errors)),
        None => table(&answer.rules, format == Format::Wide),
    })
}

/// The rules that decided most often first.
fn table(rules: &[RuleHits], wide: bool) -> String {
    let mut rows: Vec<(u64, Vec<String>)> = if wide {
        let row = |hits: &RuleHits| {
            let more = [hits.rule_number.to_string(), last(&hits.host).to_owned()];
            (hits.hits, [row(hits, hits.hits).as_slice(), &more].concat())
        };
        rules.iter().map(row).collect()
    } else {
        let rules_by_number: BTreeMap<u32, &RuleHits> = rules.iter().map(|rule| (rule.rule_number, rule)).collect();
        rules_by_number.into_values().zip(sums(rules).into_values()).map(|(rule, sum)| (sum, row(rule, sum))).collect()
    };
    rows.sort_by(|(a, first), (b, second)| b.cmp(a).then_with(|| first.cmp(second)));
    let mut titles = vec!["NETWORK", "RULE", "HITS"];
    if wide {
        titles.extend(["RULE NO", "HOST"]);
    }
    terminal::table(&titles, rows.into_iter().map(|(_, row)| row).collect())
}

fn row(of: &RuleHits, hits: u64) -> Vec<String> {
    vec![short(network_of(of)), rule(&of.rule, false), hits.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(number: u32, host: &str, hits: u64) -> RuleHits {
        RuleHits {
            host: format!("hosts/{host}"),
            owner: "tenants/mairie/networks/intranet/securityGroups/servers".to_owned(),
            rule: format!("servers/r{number}"),
            rule_number: number,
            hits,
        }
    }

    #[test]
    fn hosts_are_summed_and_the_busiest_rule_comes_first() {
        let rules = [rule(1024, "h1", 2), rule(1025, "h1", 4), rule(1024, "h2", 3)];
        let text = table(&rules, false);
        let lines: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines, [["mairie/intranet", "servers/r1024", "5"], ["mairie/intranet", "servers/r1025", "4"]]);
        assert_eq!(table(&rules, true).lines().count(), 4);
    }
}
