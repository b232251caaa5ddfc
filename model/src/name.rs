//! Resource names, in the manner of google.aip.dev/122. A name that exists is well-formed.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ResourceKind, Violation};

/// Longest part of a name, in characters.
const LONGEST_PART: usize = 63;

/// A text that is not the name it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{value:?} is not a name of the form {pattern:?}: {rule}; {fix}")]
pub struct NameError {
    /// The text.
    pub value: String,
    /// The form that was expected, for example `tenants/{tenant}`.
    pub pattern: &'static str,
    /// The rule that the text breaks.
    pub rule: String,
    /// What to do.
    pub fix: String,
}

impl NameError {
    /// The same, as a violation by a field.
    pub fn violation(self, field: impl Into<String>) -> Violation {
        Violation::new(field, self.value, self.rule, self.fix)
    }
}

/// Why a part of a name is not one.
fn check_part(part: &str, first_letter: bool) -> Result<(), &'static str> {
    if part.is_empty() {
        return Err("a part of a name is 1 to 63 characters long; this one is empty");
    }
    if part.len() > LONGEST_PART {
        return Err("a part of a name is 1 to 63 characters long; this one is longer");
    }
    if !part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
        return Err("a part of a name consists of a-z, 0-9 and \"-\"");
    }
    if first_letter && !part.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err("a part of a name begins with a letter");
    }
    Ok(())
}

/// Checks a text against a pattern like `tenants/{tenant}/networks/{network}`.
fn check(text: &str, pattern: &'static str) -> Result<(), NameError> {
    let error = |rule: String, fix: String| NameError { value: text.chars().take(200).collect(), pattern, rule, fix };
    let form = || format!("write it as {pattern:?}");
    let mut parts = text.split('/');
    for expected in pattern.split('/') {
        let Some(part) = parts.next() else {
            return Err(error(format!("the name has the form {pattern:?}; parts are missing"), form()));
        };
        if expected.starts_with('{') {
            check_part(part, true).map_err(|rule| {
                error(rule.to_owned(), format!("replace {:?}", part.chars().take(80).collect::<String>()))
            })?;
        } else if part != expected {
            return Err(error(format!("the name has the form {pattern:?}; {expected:?} is missing"), form()));
        }
    }
    if parts.next().is_some() {
        return Err(error(format!("the name has the form {pattern:?}; it has more parts"), form()));
    }
    Ok(())
}

/// The first `parts` parts of a name.
fn leading(text: &str, parts: usize) -> &str {
    text.match_indices('/').nth(parts.saturating_sub(1)).and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

/// A name is a text wherever one is written.
macro_rules! as_texts {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident $pattern:literal;)*) => { $(
        $(#[$doc])*
        #[doc = concat!("\n\nForm: `", $pattern, "`.")]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The form of such names.
            pub const PATTERN: &'static str = $pattern;

            /// The whole name.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The last part of the name.
            pub fn id(&self) -> &str {
                self.0.rsplit('/').next().unwrap_or_default()
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text, $pattern).map(|()| Self(text.into()))
            }
        }

        as_texts! { $name }
    )* };
}

names! {
    /// Name of a tenant.
    TenantName "tenants/{tenant}";
    /// Name of a network.
    NetworkName "tenants/{tenant}/networks/{network}";
    /// Name of a subnet.
    SubnetName "tenants/{tenant}/networks/{network}/subnets/{subnet}";
    /// Name of a port.
    PortName "tenants/{tenant}/networks/{network}/ports/{port}";
    /// Name of a security group.
    SecurityGroupName "tenants/{tenant}/networks/{network}/securityGroups/{group}";
    /// Name of a prefix list.
    PrefixListName "tenants/{tenant}/networks/{network}/prefixLists/{list}";
    /// Name of a policy of the operator.
    OperatorPolicyName "operatorPolicies/{policy}";
    /// Name of a foreign tunnel endpoint.
    VtepName "tenants/{tenant}/networks/{network}/vteps/{vtep}";
    /// Name of a host.
    HostName "hosts/{host}";
    /// Name of a zone.
    ZoneName "zones/{zone}";
}

impl NetworkName {
    /// The tenant of the network.
    pub fn tenant(&self) -> TenantName {
        TenantName(leading(&self.0, 2).into())
    }
}

macro_rules! inside_a_network {
    ($($name:ident)*) => { $(
        impl $name {
            /// The network that it belongs to.
            pub fn network(&self) -> NetworkName {
                NetworkName(leading(&self.0, 4).into())
            }
        }
    )* };
}
inside_a_network! { SubnetName PortName SecurityGroupName PrefixListName VtepName }

macro_rules! short_names {
    ($($(#[$documentation:meta])* $name:ident $pattern:literal $what:literal;)*) => { $(
        $(#[$documentation])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check_part(text, false).map(|()| Self(text.into())).map_err(|rule| NameError {
                    value: text.chars().take(200).collect(),
                    pattern: $pattern,
                    rule: rule.to_owned(),
                    fix: concat!("name the ", $what, " with 1 to 63 characters of a-z, 0-9 and \"-\"").into(),
                })
            }
        }

        as_texts! { $name }
    )* };
}

short_names! {
    /// Name of a rule, unique in its group: 1 to 63 characters of a-z, 0-9 and "-".
    RuleName "{rule}" "rule";
    /// Name of a reservation, unique in its subnet: 1 to 63 characters of a-z, 0-9 and "-".
    ReservationName "{reservation}" "reservation";
}

/// Name of a resource of any kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AnyName {
    /// A zone.
    Zone(ZoneName),
    /// A tenant.
    Tenant(TenantName),
    /// A host.
    Host(HostName),
    /// A network.
    Network(NetworkName),
    /// A policy of the operator.
    OperatorPolicy(OperatorPolicyName),
    /// A subnet.
    Subnet(SubnetName),
    /// A prefix list.
    PrefixList(PrefixListName),
    /// A security group.
    SecurityGroup(SecurityGroupName),
    /// A port.
    Port(PortName),
    /// A foreign tunnel endpoint.
    Vtep(VtepName),
}

impl AnyName {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Zone(name) => name.as_str(),
            Self::Tenant(name) => name.as_str(),
            Self::Host(name) => name.as_str(),
            Self::Network(name) => name.as_str(),
            Self::OperatorPolicy(name) => name.as_str(),
            Self::Subnet(name) => name.as_str(),
            Self::PrefixList(name) => name.as_str(),
            Self::SecurityGroup(name) => name.as_str(),
            Self::Port(name) => name.as_str(),
            Self::Vtep(name) => name.as_str(),
        }
    }

    /// The kind of the resource.
    pub const fn kind(&self) -> ResourceKind {
        match self {
            Self::Zone(_) => ResourceKind::Zone,
            Self::Tenant(_) => ResourceKind::Tenant,
            Self::Host(_) => ResourceKind::Host,
            Self::Network(_) => ResourceKind::Network,
            Self::OperatorPolicy(_) => ResourceKind::OperatorPolicy,
            Self::Subnet(_) => ResourceKind::Subnet,
            Self::PrefixList(_) => ResourceKind::PrefixList,
            Self::SecurityGroup(_) => ResourceKind::SecurityGroup,
            Self::Port(_) => ResourceKind::Port,
            Self::Vtep(_) => ResourceKind::Vtep,
        }
    }

    /// The network that it is, or that it belongs to.
    pub fn network(&self) -> Option<NetworkName> {
        match self {
            Self::Zone(_) | Self::Tenant(_) | Self::Host(_) | Self::OperatorPolicy(_) => None,
            Self::Network(name) => Some(name.clone()),
            Self::Subnet(name) => Some(name.network()),
            Self::PrefixList(name) => Some(name.network()),
            Self::SecurityGroup(name) => Some(name.network()),
            Self::Port(name) => Some(name.network()),
            Self::Vtep(name) => Some(name.network()),
        }
    }
}

impl FromStr for AnyName {
    type Err = NameError;

    /// The collection that the last but one part names says which kind it is.
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.rsplit('/').nth(1) {
            Some("zones") => text.parse().map(Self::Zone),
            Some("tenants") => text.parse().map(Self::Tenant),
            Some("hosts") => text.parse().map(Self::Host),
            Some("networks") => text.parse().map(Self::Network),
            Some("operatorPolicies") => text.parse().map(Self::OperatorPolicy),
            Some("prefixLists") => text.parse().map(Self::PrefixList),
            Some("subnets") => text.parse().map(Self::Subnet),
            Some("securityGroups") => text.parse().map(Self::SecurityGroup),
            Some("ports") => text.parse().map(Self::Port),
            Some("vteps") => text.parse().map(Self::Vtep),
            _ => Err(NameError {
                value: text.chars().take(200).collect(),
                pattern: "{collection}/{id}",
                rule: "the last but one part of a name is zones, tenants, hosts, networks, operatorPolicies, subnets, prefixLists, \
                       securityGroups, ports or vteps"
                    .into(),
                fix: "write a whole name, for example \"tenants/mairie/networks/intranet\"".into(),
            }),
        }
    }
}

impl TryFrom<String> for AnyName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<AnyName> for String {
    fn from(name: AnyName) -> Self {
        name.as_str().into()
    }
}

impl fmt::Display for AnyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AnyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! any_from {
    ($($kind:ident $name:ident)*) => { $(
        impl From<$name> for AnyName {
            fn from(name: $name) -> Self {
                Self::$kind(name)
            }
        }
    )* };
}
any_from! {
    Zone ZoneName
    Tenant TenantName
    Host HostName
    Network NetworkName
    OperatorPolicy OperatorPolicyName
    Subnet SubnetName
    PrefixList PrefixListName
    SecurityGroup SecurityGroupName
    Port PortName
    Vtep VtepName
}
