//! Rules, and what they stand in: security groups, prefix lists, policies of the operator.

use andromede_model::{Action, Direction, Existing, OperatorPolicy, PrefixList, Protocol, Remote, Rule, SecurityGroup};

use super::fields::{Fields, FromMessage};
use crate::v1::{self, rule};

fn direction(number: i32, fields: &mut Fields<'_>) -> Option<Direction> {
    match v1::Direction::try_from(number) {
        Ok(v1::Direction::Ingress) => Some(Direction::Ingress),
        Ok(v1::Direction::Egress) => Some(Direction::Egress),
        Ok(v1::Direction::Unspecified) => {
            fields.refuse("direction", "", "the field must be given", "write ingress or egress")
        }
        Err(_) => fields.refuse("direction", number, "a direction is ingress (1) or egress (2)", "write one of them"),
    }
}

fn action(number: i32, fields: &mut Fields<'_>) -> Option<Action> {
    match v1::Action::try_from(number) {
        Ok(v1::Action::Allow) => Some(Action::Allow),
        Ok(v1::Action::Deny) => Some(Action::Deny),
        Ok(v1::Action::Pass) => Some(Action::Pass),
        Ok(v1::Action::Unspecified) => fields.refuse("action", "", "the field must be given", "write allow or deny"),
        Err(_) => fields.refuse("action", number, "an action is allow (1), deny (2) or pass (3)", "write one of them"),
    }
}

fn existing(number: i32, fields: &mut Fields<'_>) -> Option<Existing> {
    match v1::Existing::try_from(number) {
        Ok(v1::Existing::Unspecified | v1::Existing::Cut) => Some(Existing::Cut),
        Ok(v1::Existing::Keep) => Some(Existing::Keep),
        Err(_) => fields.refuse("existing", number, "it is cut (1) or keep (2)", "write one of them"),
    }
}

fn priority(number: u32, fields: &mut Fields<'_>) -> Option<u16> {
    match u16::try_from(number) {
        Ok(0) => Some(Rule::DEFAULT_PRIORITY),
        Ok(priority) => Some(priority),
        Err(_) => fields.refuse("priority", number, "a priority is 1 to 65535", "give a smaller number"),
    }
}

/// Type or code of an ICMP message.
#[allow(clippy::option_option, reason = "the outer none is an error, the inner one an absent field")]
fn icmp(field: &str, number: Option<u32>, fields: &mut Fields<'_>) -> Option<Option<u8>> {
    match number.map(u8::try_from) {
        None => Some(None),
        Some(Ok(byte)) => Some(Some(byte)),
        Some(Err(_)) => fields.refuse(
            field,
            number.unwrap_or_default(),
            "ICMP types and codes are 0 to 255",
            "give a smaller number",
        ),
    }
}

impl FromMessage for Rule {
    type Message = v1::Rule;

    fn read(message: v1::Rule, fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text("name", &message.name);
        let direction = direction(message.direction, fields);
        let action = action(message.action, fields);
        let priority = priority(message.priority, fields);
        let protocol = fields.optional_text("protocol", &message.protocol);
        let ports = fields.texts("ports", &message.ports);
        let icmp_type = icmp("icmp_type", message.icmp_type, fields);
        let icmp_code = icmp("icmp_code", message.icmp_code, fields);
        let remote = match message.remote {
            None => Some(Remote::Any),
            Some(rule::Remote::RemoteCidr(cidr)) => fields.text("remote_cidr", &cidr).map(Remote::Cidr),
            Some(rule::Remote::RemoteGroup(group)) => fields.text("remote_group", &group).map(Remote::Group),
            Some(rule::Remote::RemotePrefixList(list)) => {
                fields.text("remote_prefix_list", &list).map(Remote::PrefixList)
            }
        };
        let existing = existing(message.existing, fields);
        Some(Self {
            name: name?,
            direction: direction?,
            action: action?,
            priority: priority?,
            protocol: protocol?.unwrap_or(Protocol::Any),
            ports,
            icmp_type: icmp_type?,
            icmp_code: icmp_code?,
            remote: remote?,
            log: message.log,
            existing: existing?,
            number: message.number,
        })
    }
}

impl From<Rule> for v1::Rule {
    fn from(rule: Rule) -> Self {
        let direction = match rule.direction {
            Direction::Ingress => v1::Direction::Ingress,
            Direction::Egress => v1::Direction::Egress,
        };
        let action = match rule.action {
            Action::Allow => v1::Action::Allow,
            Action::Deny => v1::Action::Deny,
            Action::Pass => v1::Action::Pass,
        };
        // The default is left out, so that it does not stand in every rule that is shown.
        let existing = match rule.existing {
            Existing::Cut => v1::Existing::Unspecified,
            Existing::Keep => v1::Existing::Keep,
        };
        Self {
            name: rule.name.into(),
            direction: direction.into(),
            action: action.into(),
            priority: rule.priority.into(),
            protocol: rule.protocol.to_string(),
            ports: rule.ports.iter().map(ToString::to_string).collect(),
            icmp_type: rule.icmp_type.map(Into::into),
            icmp_code: rule.icmp_code.map(Into::into),
            remote: match rule.remote {
                Remote::Any => None,
                Remote::Cidr(cidr) => Some(rule::Remote::RemoteCidr(cidr.to_string())),
                Remote::Group(group) => Some(rule::Remote::RemoteGroup(group.into())),
                Remote::PrefixList(list) => Some(rule::Remote::RemotePrefixList(list.into())),
            },
            number: rule.number,
            log: rule.log,
            existing: existing.into(),
        }
    }
}

impl FromMessage for SecurityGroup {
    type Message = v1::SecurityGroup;

    fn read(message: v1::SecurityGroup, fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text("name", &message.name);
        let labels = fields.labels(message.labels);
        let rules = fields.list("rules", message.rules);
        Some(Self { name: name?, rules, revision: message.revision, labels: labels? })
    }
}

impl From<SecurityGroup> for v1::SecurityGroup {
    fn from(group: SecurityGroup) -> Self {
        Self {
            name: group.name.into(),
            rules: group.rules.into_iter().map(Into::into).collect(),
            revision: group.revision,
            labels: group.labels.into(),
            etag: String::new(),
        }
    }
}

impl FromMessage for PrefixList {
    type Message = v1::PrefixList;

    fn read(message: v1::PrefixList, fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text("name", &message.name);
        let prefixes = fields.texts("prefixes", &message.prefixes);
        let labels = fields.labels(message.labels);
        Some(Self { name: name?, prefixes, revision: message.revision, labels: labels? })
    }
}

impl From<PrefixList> for v1::PrefixList {
    fn from(list: PrefixList) -> Self {
        Self {
            name: list.name.into(),
            prefixes: list.prefixes.iter().map(ToString::to_string).collect(),
            revision: list.revision,
            labels: list.labels.into(),
            etag: String::new(),
        }
    }
}

impl FromMessage for OperatorPolicy {
    type Message = v1::OperatorPolicy;

    fn read(message: v1::OperatorPolicy, fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text("name", &message.name);
        let networks = fields.texts("networks", &message.networks);
        let rules = fields.list("rules", message.rules);
        let labels = fields.labels(message.labels);
        let (networks, revision) = (networks.into_iter().collect(), message.revision);
        Some(Self { name: name?, networks, rules, revision, labels: labels? })
    }
}

impl From<OperatorPolicy> for v1::OperatorPolicy {
    fn from(policy: OperatorPolicy) -> Self {
        Self {
            name: policy.name.into(),
            networks: policy.networks.into_iter().map(Into::into).collect(),
            rules: policy.rules.into_iter().map(Into::into).collect(),
            revision: policy.revision,
            labels: policy.labels.into(),
            etag: String::new(),
        }
    }
}
