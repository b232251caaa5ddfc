//! What tenants used.

use std::{sync::Arc, time::Duration};

use andromede_model::{Day, Resource, TenantName};
use andromede_proto::v1::{
    ListUsageRequest, ListUsageResponse, UsagePlace, UsageRecord, usage_service_server::UsageService,
};
use tonic::{Request, Response, Status};

use super::{broken, history::aside, name};
use crate::{
    access::{Caller, Sight, Views, caller},
    errors,
    usage::{Collector, FRESH, FRESH_FOR_TENANTS, Line, OfTenant, Position, RETENTION_DAYS, today},
};

/// Most records of a page, and as many if nothing is said.
const PAGE: (u32, u32) = (1_000, 100);

/// The service over the ledger.
#[derive(Clone, Debug)]
pub struct Usages {
    /// The published state.
    pub views: Views,
    /// Who asks the hosts.
    pub collector: Arc<Collector>,
}

#[tonic::async_trait]
impl UsageService for Usages {
    async fn list_usage(&self, request: Request<ListUsageRequest>) -> Result<Response<ListUsageResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let of = self.tenant(&caller, &request.parent)?;
        let days = days(&request, today())?;
        let most = match request.page_size {
            0 => PAGE.1,
            size if size <= PAGE.0 => size,
            size => return Err(broken("page_size", size, "a page has at most 1000 records", "ask for fewer")),
        };
        let after = position(&request.page_token)?;
        // Pages that follow are of what was known at the first.
        let fresh = match (&after, &caller.sight) {
            (Some(_), _) => Duration::MAX,
            (None, Sight::Everything) => FRESH,
            (None, _) => FRESH_FOR_TENANTS,
        };
        let missing = self.collector.present(fresh).await?;
        let concerned = self.views.concerned(&caller, None);
        let missing = missing.iter().filter(|host| caller.sight == Sight::Everything || concerned.contains_key(*host));
        let hosts_missing = u32::try_from(missing.count()).unwrap_or(u32::MAX);
        let ledger = self.collector.ledger();
        let read = move || Ok(ledger.lines(days, of.as_ref(), after.as_ref(), most as usize)?);
        let (lines, more) = aside(read).await?;
        let next_page_token = lines.last().filter(|_| more).map(|line| token(&line.at)).unwrap_or_default();
        Ok(Response::new(ListUsageResponse {
            records: lines.into_iter().map(record).collect(),
            next_page_token,
            hosts_missing,
        }))
    }
}

impl Usages {
    /// Whose records are asked for; none: everybody's. A tenant that is gone had some too, which its operator may read.
    fn tenant(&self, caller: &Caller, parent: &str) -> Result<Option<OfTenant>, Status> {
        let asked = match parent {
            "" | "tenants/-" => None,
            parent => Some(name::<TenantName>("parent", parent)?),
        };
        let own = match &caller.sight {
            Sight::Everything => return Ok(asked.map(|tenant| OfTenant { name: tenant.to_string(), index: None })),
            Sight::Tenant(own) => own,
            Sight::Nothing => return Err(errors::not_found(parent)),
        };
        // What others of the same name used before is not its own.
        let index = match self.views.model(caller).get(&own.clone().into()) {
            Some(Resource::Tenant(tenant)) => Some(tenant.index),
            _ => None,
        };
        match (asked, index) {
            (Some(asked), _) if asked != *own => Err(errors::not_found(asked.as_str())),
            (_, None) => Err(errors::not_found(own.as_str())),
            (_, index) => Ok(Some(OfTenant { name: own.to_string(), index })),
        }
    }
}

/// The days that are asked for.
fn days(request: &ListUsageRequest, today: Day) -> Result<(Day, Day), Status> {
    let day = |field: &str, text: &str| match text {
        "" => Ok(today),
        text => text.parse::<Day>().map_err(|error| errors::invalid(&[error.violation(field)])),
    };
    let (from, to) = (day("from_day", &request.from_day)?, day("to_day", &request.to_day)?);
    if from > to {
        return Err(broken("to_day", to, "the last day is not before the first", "change places"));
    }
    let first = today.before(RETENTION_DAYS);
    if from < first {
        return Err(Status::out_of_range(format!("from_day: usage is kept from {first} on; begin there, or later")));
    }
    // Clocks of hosts may be ahead by a little.
    Ok((from, to.min(Day::from_number(today.number().saturating_add(1)))))
}

fn record(line: Line) -> UsageRecord {
    let Line { at, used } = line;
    let place = i32::try_from(at.place).ok().and_then(|place| UsagePlace::try_from(place).ok());
    UsageRecord {
        day: at.day.to_string(),
        tenant: at.tenant,
        network: at.network,
        place: place.unwrap_or_default().into(),
        packets: used.packets,
        bytes: used.bytes,
        flows: used.flows,
    }
}

/// The token of the page behind a line.
fn token(at: &Position) -> String {
    let Position { day, tenant, tenant_index, network, network_index, place } = at;
    format!("{}:{tenant}:{tenant_index}:{network}:{network_index}:{place}", day.number())
}

/// Behind which line the page begins; none: with the first.
fn position(token: &str) -> Result<Option<Position>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let parts: Vec<&str> = token.split(':').collect();
    let read = || -> Option<Position> {
        let [day, tenant, tenant_index, network, network_index, place] = parts.as_slice() else { return None };
        Some(Position {
            day: Day::from_number(day.parse().ok()?),
            tenant: (*tenant).to_owned(),
            tenant_index: tenant_index.parse().ok()?,
            network: (*network).to_owned(),
            network_index: network_index.parse().ok()?,
            place: place.parse().ok()?,
        })
    };
    let fix = "give the next_page_token of the page before, or none";
    read().map(Some).ok_or_else(|| broken("page_token", token, "it is not a token of this list", fix))
}
