//! `andromedectl usage`: what tenants used.

use andromede_proto::v1::{ListUsageRequest, ListUsageResponse, UsageRecord, usage_service_client::UsageServiceClient};
use clap::{Args, ValueEnum};

use crate::{
    connection::Connection,
    failure::Failure,
    output::Format,
    scope::{last, short},
    terminal,
};

/// Records that are asked for at once.
const PAGE: u32 = 1_000;

/// How to show what was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum UsageFormat {
    /// Columns for people
    #[default]
    Table,
    /// Comma-separated values (RFC 4180), with a line of titles
    Csv,
    /// Canonical JSON of the API's messages
    Json,
}

/// Shows what tenants used.
#[derive(Debug, Args)]
#[command(after_help = "Days are those of UTC. A packet between two workloads is counted once, at its sender; \
                        bytes are those of the inner Ethernet frames, each segment with its headers. The records of today grow; hosts that \
                        cannot be asked add what is missing later.\n\n\
                        Examples:\n  andromedectl usage\n  andromedectl usage --tenant mairie --from 2026-11-01 --to 2026-11-30 -o csv")]
pub(crate) struct Usage {
    /// Only this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// The first day, YYYY-MM-DD [default: today]
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// The last day [default: today]
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: UsageFormat,
}

impl Usage {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection) -> Result<(), Failure> {
        let mut client = UsageServiceClient::new(connection.dial().await?);
        let tenant = self.tenant.as_deref().map(|tenant| tenant.strip_prefix("tenants/").unwrap_or(tenant));
        let mut request = ListUsageRequest {
            parent: tenant.map(|tenant| format!("tenants/{tenant}")).unwrap_or_default(),
            from_day: self.from.clone().unwrap_or_default(),
            to_day: self.to.clone().unwrap_or_default(),
            page_size: PAGE,
            page_token: String::new(),
        };
        let mut all = ListUsageResponse::default();
        loop {
            let mut page = client.list_usage(request.clone()).await?.into_inner();
            all.records.append(&mut page.records);
            all.hosts_missing = page.hosts_missing;
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        if all.hosts_missing > 0 {
            let hosts = all.hosts_missing;
            terminal::remark(&format!(
                "andromedectl: {hosts} hosts could not be asked: what they counted since is missing, and will be added"
            ));
        }
        terminal::print(&told(&all, self.output)?)
    }
}

fn told(usage: &ListUsageResponse, format: UsageFormat) -> Result<String, Failure> {
    Ok(match format {
        UsageFormat::Json => Format::Json.machine(usage)?.unwrap_or_default(),
        UsageFormat::Csv => csv(&usage.records),
        UsageFormat::Table if usage.records.is_empty() => "nothing was used\n".to_owned(),
        UsageFormat::Table => {
            let titles = ["DAY", "TENANT", "NETWORK", "PLACE", "PACKETS", "BYTES", "FLOWS"];
            terminal::table(&titles, usage.records.iter().map(|record| cells(record, true)).collect())
        }
    })
}

/// Nothing in a record has a comma, a quotation mark or a line break in it: days, names and numbers.
fn csv(records: &[UsageRecord]) -> String {
    let mut text = "day,tenant,network,place,packets,bytes,flows\n".to_owned();
    for record in records {
        text.push_str(&cells(record, false).join(","));
        text.push('\n');
    }
    text
}

fn cells(record: &UsageRecord, for_people: bool) -> Vec<String> {
    let (tenant, network) = if for_people {
        (last(&record.tenant).to_owned(), short(&record.network))
    } else {
        (record.tenant.clone(), record.network.clone())
    };
    let place = record.place().as_str_name().trim_start_matches("USAGE_PLACE_").to_ascii_lowercase().replace('_', "-");
    let numbers = [record.packets, record.bytes, record.flows].map(|number| number.to_string());
    [vec![record.day.clone(), tenant, network, place], numbers.to_vec()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use andromede_proto::v1::UsagePlace;

    use super::*;

    fn usage() -> ListUsageResponse {
        let record = UsageRecord {
            day: "2026-11-22".to_owned(),
            tenant: "tenants/mairie".to_owned(),
            network: "tenants/mairie/networks/intranet".to_owned(),
            place: UsagePlace::OtherZone.into(),
            packets: 3,
            bytes: 1_234_567_890_123,
            flows: 1,
        };
        ListUsageResponse { records: vec![record], ..ListUsageResponse::default() }
    }

    #[test]
    fn a_line_of_a_bill_has_whole_names_and_whole_numbers() {
        let expected = "day,tenant,network,place,packets,bytes,flows\n\
                        2026-11-22,tenants/mairie,tenants/mairie/networks/intranet,other-zone,3,1234567890123,1\n";
        assert_eq!(told(&usage(), UsageFormat::Csv).unwrap(), expected);
        let json: serde_json::Value = serde_json::from_str(&told(&usage(), UsageFormat::Json).unwrap()).unwrap();
        assert_eq!(json["records"][0]["bytes"], "1234567890123", "as 64-bit numbers are in JSON of protocol buffers");
        assert_eq!(json["records"][0]["place"], "USAGE_PLACE_OTHER_ZONE");
    }

    #[test]
    fn people_read_short_names() {
        let text = told(&usage(), UsageFormat::Table).unwrap();
        let line: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(line, ["2026-11-22", "mairie", "mairie/intranet", "other-zone", "3", "1234567890123", "1"]);
    }
}
