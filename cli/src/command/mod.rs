//! One file a command.

pub(crate) mod apply;
mod asking;
pub(crate) mod audit;
pub(crate) mod completion;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod drops;
pub(crate) mod flows;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod hits;
pub(crate) mod host;
mod host_metrics;
pub(crate) mod lifecycle;
pub(crate) mod log;
pub(crate) mod pki;
pub(crate) mod plan;
pub(crate) mod rules;
pub(crate) mod status;
pub(crate) mod subnets;
pub(crate) mod token;
pub(crate) mod trace;
pub(crate) mod usage;

use crate::{
    arguments::{Arguments, Command},
    failure::Failure,
    terminal::Palette,
};

/// Runs the command that was given.
pub(crate) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let connection = &arguments.connection;
    let palette = Palette::new(arguments.color);
    match &arguments.command {
        Command::Apply(apply) => apply.run(connection, palette).await,
        Command::Plan(plan) => plan.run(connection, palette).await,
        Command::History(history) => history.run(connection).await,
        Command::Audit(audit) => audit.run(connection).await,
        Command::Diff(diff) => diff.run(connection, palette).await,
        Command::Rollback(rollback) => rollback.run(connection, palette).await,
        Command::Get(get) => get.run(connection).await,
        Command::Describe(describe) => describe.run(connection, palette).await,
        Command::Delete(delete) => delete.run(connection, palette).await,
        Command::Rules(rules) => rules.run(connection).await,
        Command::Status(status) => status.run(connection, palette).await,
        Command::Subnets(subnets) => subnets.run(connection, palette).await,
        Command::Drops(drops) => drops.run(connection).await,
        Command::Flows(flows) => flows.run(connection).await,
        Command::Log(log) => log.run(connection).await,
        Command::Hits(hits) => hits.run(connection).await,
        Command::Usage(usage) => usage.run(connection).await,
        Command::Trace(trace) => trace.run(connection, palette).await,
        Command::Host(host) => host.run(connection, palette).await,
        Command::Pki(pki) => pki.run(),
        Command::Completion(completion) => completion.run(),
    }
}

/// Tells on standard error which hosts did not answer.
fn tell_silent(errors: &[andromede_proto::v1::HostError]) {
    for silent in errors {
        crate::terminal::remark(&format!("andromedectl: {} did not answer: {}", silent.host, silent.error));
    }
}

/// What to add to "there is none" where some hosts did not answer.
fn as_far_as(errors: &[andromede_proto::v1::HostError]) -> &'static str {
    if errors.is_empty() { "" } else { ", as far as the hosts that answered know" }
}

/// The name of an IP protocol where it has one.
fn protocol(number: u32) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

/// `10.0.0.1:80`, `[fd00::1]:80`, or the address alone where the protocol has no ports.
fn endpoint(protocol: u32, address: &str, port: u32) -> String {
    match (matches!(protocol, 6 | 17 | 132), address.contains(':')) {
        (true, true) => format!("[{address}]:{port}"),
        (true, false) => format!("{address}:{port}"),
        (false, _) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn endpoints_are_written_as_people_do() {
        assert_eq!(endpoint(6, "10.0.0.1", 80), "10.0.0.1:80");
        assert_eq!(endpoint(17, "fd00::1", 53), "[fd00::1]:53");
        assert_eq!(endpoint(58, "fd00::1", 128), "fd00::1");
    }
}
