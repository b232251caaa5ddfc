//! What rules decided, of all hosts: one by one, and counted. A tenant is told of its own rules at its own ports.

use andromede_model::{AnyName, HostName};
use andromede_proto::{
    agent::v1::{answer::Answer, query},
    v1::{
        ListRuleEventsRequest, ListRuleEventsResponse, ListRuleHitsRequest, ListRuleHitsResponse, LostRuleEvents,
        RuleEvent, RuleHits,
    },
};
use tonic::Status;

use super::{Diagnostics, broken, name};
use crate::{access::Caller, errors};

/// Most events that a host may tell, and most ports of which events are missing.
const MOST_EVENTS: usize = 10_000;
/// Most rules that a host may count.
const MOST_HITS: usize = 300_000;

impl Diagnostics {
    /// What rules with `log` let pass and refused.
    pub(super) async fn rule_events(
        &self,
        caller: &Caller,
        mut request: ListRuleEventsRequest,
    ) -> Result<ListRuleEventsResponse, Status> {
        let hosts = self.concerned(caller, &request.host, &request.port)?;
        let after = std::mem::take(&mut request.after);
        // Each host is told where it was, and nothing of the others.
        let question = |host: &HostName| {
            let own = after.get_key_value(host.as_str()).map(|(host, sequence)| (host.clone(), *sequence));
            query::Question::RuleEvents(ListRuleEventsRequest { after: own.into_iter().collect(), ..request.clone() })
        };
        let (answers, errors) = self
            .ask(hosts, question, |answer| match answer {
                Answer::RuleEvents(mut told) => {
                    told.events.truncate(MOST_EVENTS);
                    told.lost.truncate(MOST_EVENTS);
                    let rows = told.events.len().saturating_add(told.lost.len());
                    Some((told, rows))
                }
                _ => None,
            })
            .await;
        let is_seen = |event: &RuleEvent| caller.sight.sees_text(&event.owner) && caller.sight.sees_text(&event.port);
        let mut all = ListRuleEventsResponse { errors, ..ListRuleEventsResponse::default() };
        for (host, told) in answers {
            // A host speaks for itself only.
            let events = told.events.into_iter().filter(is_seen);
            all.events.extend(events.map(|event| RuleEvent { host: host.clone(), ..event }));
            let lost = told.lost.into_iter().filter(|lost| caller.sight.sees_text(&lost.port));
            all.lost.extend(lost.map(|lost| LostRuleEvents { host: host.clone(), ..lost }));
        }
        all.events.sort_by_key(|event| event.time_unix_nanos);
        Ok(all)
    }

    /// How often rules decided.
    pub(super) async fn rule_hits(
        &self,
        caller: &Caller,
        request: ListRuleHitsRequest,
    ) -> Result<ListRuleHitsResponse, Status> {
        if !request.owner.is_empty() {
            let owner = name::<AnyName>("owner", &request.owner)?;
            if !matches!(owner, AnyName::SecurityGroup(_) | AnyName::OperatorPolicy(_)) {
                let fix = "give \"tenants/t/networks/n/securityGroups/g\" or \"operatorPolicies/p\"";
                return Err(broken("owner", &request.owner, "rules stand in a security group or a policy", fix));
            }
            let found = self.views.model(caller).get(&owner).is_some();
            found.then_some(()).ok_or_else(|| errors::not_found(owner.as_str()))?;
        }
        let hosts = self.concerned(caller, &request.host, "")?;
        let question = |_: &HostName| query::Question::RuleHits(request.clone());
        let (answers, errors) = self
            .ask(hosts, question, |answer| match answer {
                Answer::RuleHits(mut told) => {
                    told.rules.truncate(MOST_HITS);
                    let rows = told.rules.len();
                    Some((told, rows))
                }
                _ => None,
            })
            .await;
        let mut all = ListRuleHitsResponse { errors, ..ListRuleHitsResponse::default() };
        for (host, told) in answers {
            let rules = told.rules.into_iter().filter(|rule| caller.sight.sees_text(&rule.owner));
            all.rules.extend(rules.map(|rule| RuleHits { host: host.clone(), ..rule }));
        }
        Ok(all)
    }
}
