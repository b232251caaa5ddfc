//! `andromedectl subnets`: how full subnets are.

use std::{cmp::Reverse, time::Duration};

use andromede_proto::v1::{
    GetStatusResponse, ListRequest, ListUtilizationResponse, SubnetLevel, SubnetUtilization,
    subnet_service_client::SubnetServiceClient,
};
use clap::Args;
use time::OffsetDateTime;

use crate::{
    connection::{Channel, Connection},
    duration,
    failure::Failure,
    kind::Kind,
    output::Format,
    scope::{Scope, last, network_of, short},
    terminal::{self, Palette},
};

/// Subnets that are asked for at once.
const PAGE: u32 = 1_000;
/// How many of those that fill are named with the status.
const NAMED: usize = 3;

/// Shows how full subnets are, the fullest first.
#[derive(Debug, Args)]
#[command(
    after_help = "USED % is the share of what is outside of reservations that ports have, or had until a moment ago. \
                        FULL IN is foreseen from the last hour. Of subnets that are leased to a host, what rests its agent alone knows.\n\n\
                        Examples:\n  andromedectl subnets -n mairie/intranet\n  andromedectl subnets --least 80\n  \
                        andromedectl subnets -o json | jq '.subnets[] | select(.percent >= 95) | .subnet'"
)]
pub(crate) struct Subnets {
    /// Only those of which this share is taken, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    least: u32,
    #[command(flatten)]
    scope: Scope,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Subnets {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection, palette: Palette) -> Result<(), Failure> {
        let channel = connection.dial().await?;
        let mut subnets = list(&channel, &self.scope.parent(Kind::Subnet)?, "").await?;
        subnets.retain(|subnet| subnet.percent >= self.least);
        subnets.sort_by_cached_key(|subnet| (Reverse(subnet.percent), subnet.subnet.clone()));
        terminal::print(&told(subnets, self.output, palette)?)
    }
}

/// How full the subnets below a parent are that pass a filter.
pub(super) async fn list(channel: &Channel, parent: &str, filter: &str) -> Result<Vec<SubnetUtilization>, Failure> {
    let mut client = SubnetServiceClient::new(channel.clone());
    let (parent, filter) = (parent.to_owned(), filter.to_owned());
    let mut request = ListRequest { parent, filter, page_size: PAGE, page_token: String::new() };
    let mut all = Vec::new();
    loop {
        let mut page = client.list_utilization(request.clone()).await?.into_inner();
        all.append(&mut page.subnets);
        if page.next_page_token.is_empty() || page.next_page_token == request.page_token {
            return Ok(all);
        }
        request.page_token = page.next_page_token;
    }
}

fn told(subnets: Vec<SubnetUtilization>, format: Format, palette: Palette) -> Result<String, Failure> {
    let all = ListUtilizationResponse { subnets, next_page_token: String::new() };
    if let Some(text) = format.machine(&all)? {
        return Ok(text);
    }
    Ok(match format {
        Format::Name => terminal::lines(all.subnets.iter().map(|subnet| subnet.subnet.as_str())),
        _ if all.subnets.is_empty() => "no subnets\n".to_owned(),
        _ => table(&all.subnets, palette),
    })
}

/// A table, with those that fill in colour.
pub(super) fn table(subnets: &[SubnetUtilization], palette: Palette) -> String {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let titles =
        ["NETWORK", "NAME", "CIDR", "HOST", "USABLE", "USED", "RESERVED", "RESTING", "FREE", "USED %", "FULL IN"];
    let text = terminal::table(&titles, subnets.iter().map(|subnet| row(subnet, now)).collect());
    let mut lines = text.lines();
    let mut told = palette.strong(lines.next().unwrap_or_default());
    for (line, subnet) in lines.zip(subnets) {
        told.push('\n');
        told.push_str(&match subnet.level() {
            SubnetLevel::Unspecified | SubnetLevel::Roomy => line.to_owned(),
            SubnetLevel::Filling => palette.pending(line),
            SubnetLevel::NearlyFull | SubnetLevel::Full => palette.bad(line),
        });
    }
    told + "\n"
}

fn row(subnet: &SubnetUtilization, now: i64) -> Vec<String> {
    vec![
        network_of(&subnet.subnet),
        last(&subnet.subnet).to_owned(),
        subnet.cidr.clone(),
        last(&subnet.host).to_owned(),
        number(subnet.usable),
        number(subnet.used),
        number(subnet.reserved),
        number(subnet.resting),
        number(subnet.free),
        subnet.percent.to_string(),
        full_in(subnet, now).unwrap_or_default(),
    ]
}

/// As it is, or as a power of two where it is longer than people read.
fn number(number: u64) -> String {
    match number {
        u64::MAX => "2^64".to_owned(),
        0..10_000_000_000 => number.to_string(),
        // Rounded to the nearest power: half of the next is added.
        large => format!("~2^{}", (u128::from(large) + u128::from(large / 2)).ilog2()),
    }
}

/// "3h20m", if it is foreseen.
fn full_in(subnet: &SubnetUtilization, now: i64) -> Option<String> {
    let left = u64::try_from(subnet.full_seconds.saturating_sub(now)).unwrap_or_default();
    match subnet.level() {
        SubnetLevel::Full => Some("now".to_owned()),
        _ => (subnet.full_seconds != 0).then(|| duration::show(Duration::from_secs(left.max(1)))),
    }
}

/// A line about the subnets that fill, for the status of the fabric; empty if none does.
pub(super) fn filling(status: &GetStatusResponse, palette: Palette) -> String {
    let (number, now) = (status.filling_subnets, OffsetDateTime::now_utc().unix_timestamp());
    if number == 0 {
        return String::new();
    }
    let one = |subnet: &SubnetUtilization| {
        let full = full_in(subnet, now).map(|left| format!(", full in {left}")).unwrap_or_default();
        let full = if subnet.level() == SubnetLevel::Full { ", full" } else { &full };
        format!("{} ({} %{full})", short(&subnet.subnet), subnet.percent)
    };
    let named: Vec<String> = status.fullest_subnets.iter().take(NAMED).map(one).collect();
    let more = if number as usize > named.len() { ", ..." } else { "" };
    let worst = status.fullest_subnets.iter().map(SubnetUtilization::level).max();
    let text = format!("subnets that run out of addresses: {number}: {}{more}", named.join(", "));
    let text = if worst > Some(SubnetLevel::Filling) { palette.bad(&text) } else { palette.pending(&text) };
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::ColorChoice;

    fn subnet(percent: u32, level: SubnetLevel) -> SubnetUtilization {
        SubnetUtilization {
            subnet: "tenants/mairie/networks/intranet/subnets/v4".to_owned(),
            cidr: "10.0.0.0/24".to_owned(),
            usable: 253,
            used: 240,
            resting: 5,
            free: 8,
            percent,
            level: level.into(),
            ..SubnetUtilization::default()
        }
    }

    #[test]
    fn people_read_where_it_becomes_tight_and_when() {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let tight = SubnetUtilization { full_seconds: now + 7_230, ..subnet(96, SubnetLevel::NearlyFull) };
        let text = table(&[tight.clone(), subnet(100, SubnetLevel::Full)], Palette::new(ColorChoice::Never));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..10], ["mairie/intranet", "v4", "10.0.0.0/24", "-", "253", "240", "0", "5", "8", "96"]);
        assert_eq!((lines[1][10], lines[2][10]), ("2h0m", "now"));
        let status = GetStatusResponse {
            filling_subnets: 7,
            fullest_subnets: vec![subnet(100, SubnetLevel::Full), tight],
            ..GetStatusResponse::default()
        };
        let line = filling(&status, Palette::new(ColorChoice::Never));
        assert_eq!(
            line,
            "subnets that run out of addresses: 7: mairie/intranet/v4 (100 %, full), mairie/intranet/v4 (96 %, full in 2h0m), ...\n"
        );
        assert_eq!(filling(&GetStatusResponse::default(), Palette::new(ColorChoice::Never)), "");
    }

    #[test]
    fn numbers_stay_short() {
        assert_eq!(number(65_533), "65533");
        assert_eq!(number(u64::MAX), "2^64");
        assert_eq!((number((1 << 56) - 3), number(u64::MAX - 1)), ("~2^56".to_owned(), "~2^64".to_owned()));
    }
}
