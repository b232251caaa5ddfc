//! How a commit is written down: a protobuf message, so that old logs stay readable as the schema grows.

use andromede_model::{AnyName, Commit, Counters, IdentitySet, NetworkName, Resource, SecurityGroupName, Violation};
use andromede_proto::v1;
use prost::Message;

use crate::{
    change::{Effect, Written},
    denials::DeniedRecord,
    requests::Request,
};

/// The version of the record that this program writes, and the newest that it reads.
const VERSION: u32 = 1;

/// One commit in the store's log. Fields are only ever added; a record whose meaning changes raises the version.
#[derive(Clone, PartialEq, Message)]
pub struct Record {
    /// Version of the record.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Revision of the commit.
    #[prost(uint64, tag = "2")]
    pub revision: u64,
    /// When it was made: nanoseconds since 1970, for people; nothing is decided by it.
    #[prost(int64, tag = "3")]
    pub time_unix_nanos: i64,
    /// Who made it, as `role/name`.
    #[prost(string, tag = "4")]
    pub principal: String,
    /// Resources as they are after the commit.
    #[prost(message, repeated, tag = "5")]
    pub written: Vec<v1::Resource>,
    /// Names of those that are gone.
    #[prost(string, repeated, tag = "6")]
    pub deleted: Vec<String>,
    /// New interned sets of groups.
    #[prost(message, repeated, tag = "7")]
    pub identities: Vec<IdentityRecord>,
    /// Sets that are gone; their groups are left out.
    #[prost(message, repeated, tag = "8")]
    pub identities_removed: Vec<IdentityRecord>,
    /// The next numbers that the model gives out.
    #[prost(message, optional, tag = "9")]
    pub counters: Option<CountersRecord>,
    /// The method by which it was made, for example `CreatePort`.
    #[prost(string, tag = "10")]
    pub method: String,
    /// The request that made it, if that had an id.
    #[prost(message, optional, tag = "11")]
    pub request: Option<RequestRecord>,
    /// Addresses that ports lost by it: they rest for a while.
    #[prost(message, repeated, tag = "12")]
    pub released: Vec<ReleasedRecord>,
    /// SHA-256 of the record before it, as it is stored; empty in the first, and in those of the time before there was a chain.
    #[prost(bytes = "vec", tag = "13")]
    pub previous: Vec<u8>,
    /// Calls that were denied since the last commit that tells any; such a commit changes nothing.
    #[prost(message, repeated, tag = "14")]
    pub denied: Vec<DeniedRecord>,
}

/// The part of a [`Record`] that makes the chain.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Linked {
    /// See [`Record::revision`].
    #[prost(uint64, tag = "2")]
    pub revision: u64,
    /// See [`Record::previous`].
    #[prost(bytes = "vec", tag = "13")]
    pub previous: Vec<u8>,
}

/// Addresses that a port lost.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ReleasedRecord {
    /// Name of the port.
    #[prost(string, tag = "1")]
    pub port: String,
    /// The addresses.
    #[prost(string, repeated, tag = "2")]
    pub addresses: Vec<String>,
}

/// A request with an id, and what it was answered besides the commit.
#[derive(Clone, PartialEq, Message)]
pub struct RequestRecord {
    /// Sum of the caller and the id.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Sum of the method and its arguments.
    #[prost(bytes = "vec", tag = "2")]
    pub digest: Vec<u8>,
    /// The caller's id, for people.
    #[prost(string, tag = "3")]
    pub id: String,
    /// The effect on each resource of the request, in its order.
    #[prost(message, repeated, tag = "4")]
    pub effects: Vec<EffectRecord>,
    /// The resource of a request that writes one, if it did not change.
    #[prost(message, optional, tag = "5")]
    pub unchanged: Option<v1::Resource>,
}

/// The effect on one resource.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct EffectRecord {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// See [`v1::resource_change::Kind`].
    #[prost(enumeration = "v1::resource_change::Kind", tag = "2")]
    pub kind: i32,
}

/// The part of a [`Record`] that a start reads of the last commits; the rest is passed over.
#[derive(Clone, PartialEq, Message)]
pub struct Remembered {
    /// See [`Record::time_unix_nanos`].
    #[prost(int64, tag = "3")]
    pub time_unix_nanos: i64,
    /// See [`Record::request`].
    #[prost(message, optional, tag = "11")]
    pub request: Option<RequestRecord>,
    /// See [`Record::released`].
    #[prost(message, repeated, tag = "12")]
    pub released: Vec<ReleasedRecord>,
}

impl Remembered {
    /// The sums by which the request is known.
    pub fn entry(&self) -> Option<([u8; 16], [u8; 16])> {
        let request = self.request.as_ref()?;
        Some((request.key.as_slice().try_into().ok()?, request.digest.as_slice().try_into().ok()?))
    }
}

/// An interned set of groups.
#[derive(Clone, PartialEq, Message)]
pub struct IdentityRecord {
    /// Name of the network.
    #[prost(string, tag = "1")]
    pub network: String,
    /// Number of the set.
    #[prost(uint32, tag = "2")]
    pub number: u32,
    /// Names of the groups.
    #[prost(string, repeated, tag = "3")]
    pub security_groups: Vec<String>,
}

/// The model's counters.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct CountersRecord {
    /// See [`Counters::network`].
    #[prost(uint32, tag = "1")]
    pub network: u32,
    /// See [`Counters::vni`].
    #[prost(uint32, tag = "2")]
    pub vni: u32,
    /// See [`Counters::host`].
    #[prost(uint32, tag = "3")]
    pub host: u32,
    /// See [`Counters::rule`].
    #[prost(uint32, tag = "4")]
    pub rule: u32,
    /// See [`Counters::identity`].
    #[prost(uint32, tag = "5")]
    pub identity: u32,
    /// See [`Counters::mac`].
    #[prost(uint32, tag = "6")]
    pub mac: u32,
    /// See [`Counters::tenant`].
    #[prost(uint32, tag = "7")]
    pub tenant: u32,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not a record at all.
    #[error("it is not a commit record: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// Written by a newer program.
    #[error("it has version {found}, this program reads up to {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// A resource in it breaks a rule.
    #[error("it holds something invalid: {0}")]
    Invalid(String),
    /// A part that every record has is absent.
    #[error("a part of it is missing")]
    Incomplete,
}

impl From<Vec<Violation>> for RecordError {
    fn from(violations: Vec<Violation>) -> Self {
        Self::Invalid(violations.first().map(ToString::to_string).unwrap_or_default())
    }
}

impl Record {
    /// The record of a commit that a principal makes at this time, in nanoseconds since 1970.
    pub fn new(commit: &Commit, principal: &str, time_unix_nanos: i64) -> Self {
        Self {
            version: VERSION,
            revision: commit.revision,
            time_unix_nanos,
            principal: principal.to_owned(),
            written: commit.written.iter().cloned().map(Into::into).collect(),
            deleted: commit.deleted.iter().map(ToString::to_string).collect(),
            identities: commit.identities.iter().map(|(network, set)| identity_record(network, set)).collect(),
            identities_removed: (commit.identities_removed.iter())
                .map(|(network, number)| IdentityRecord {
                    network: network.to_string(),
                    number: *number,
                    security_groups: Vec::new(),
                })
                .collect(),
            counters: Some(counters_record(&commit.counters)),
            method: String::new(),
            request: None,
            released: Vec::new(),
            previous: Vec::new(),
            denied: Vec::new(),
        }
    }

    /// Adds the request that made it, and its answer.
    pub(crate) fn remember(&mut self, request: &Request, key: [u8; 16], answer: &Written) {
        let effect = |(name, effect): &(AnyName, Effect)| EffectRecord {
            name: name.to_string(),
            kind: v1::resource_change::Kind::from(*effect).into(),
        };
        let unchanged = matches!(answer.effects.as_slice(), [(_, Effect::Unchanged)]);
        self.request = Some(RequestRecord {
            key: key.to_vec(),
            digest: request.digest.to_vec(),
            id: request.id.clone(),
            effects: answer.effects.iter().map(effect).collect(),
            unchanged: answer.resource.clone().filter(|_| unchanged).map(Into::into),
        });
    }

    /// What the request that made it was answered.
    pub(crate) fn into_answer(self) -> Result<Written, RecordError> {
        let request = self.request.ok_or(RecordError::Incomplete)?;
        let effects = request.effects.iter().map(effect).collect::<Result<Vec<_>, _>>()?;
        let resource = match effects.as_slice() {
            [(_, Effect::Unchanged)] => request.unchanged,
            [(name, Effect::Created | Effect::Updated)] => {
                self.written.into_iter().find(|resource| resource.name() == name.as_str())
            }
            _ => None,
        };
        Ok(Written {
            revision: self.revision,
            effects,
            resource: resource.map(Resource::try_from).transpose()?,
            refused: Vec::new(),
        })
    }

    /// A record without anything, of the version that this program writes.
    pub(crate) fn empty() -> Self {
        Self { version: VERSION, ..Self::default() }
    }

    /// Reads a record of a version that this program knows.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        let record = Self::decode(bytes)?;
        match record.version {
            1..=VERSION => Ok(record),
            found => Err(RecordError::Version { found }),
        }
    }

    /// The commit in it.
    pub fn into_commit(self) -> Result<Commit, RecordError> {
        let counters = self.counters.ok_or(RecordError::Incomplete)?;
        Ok(Commit {
            revision: self.revision,
            written: self.written.into_iter().map(Resource::try_from).collect::<Result<_, _>>()?,
            deleted: self.deleted.iter().map(|name| any_name(name)).collect::<Result<_, _>>()?,
            identities: self.identities.iter().map(identity).collect::<Result<_, _>>()?,
            identities_removed: (self.identities_removed.iter())
                .map(|removed| Ok((network_name(&removed.network)?, removed.number)))
                .collect::<Result<_, RecordError>>()?,
            counters: Counters {
                network: counters.network,
                vni: counters.vni,
                host: counters.host,
                rule: counters.rule,
                identity: counters.identity,
                mac: counters.mac,
                // Records of programs that gave tenants no number have none.
                tenant: counters.tenant.max(1),
            },
        })
    }
}

impl From<Effect> for v1::resource_change::Kind {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::Created => Self::Created,
            Effect::Updated => Self::Updated,
            Effect::Unchanged => Self::Unchanged,
            Effect::Deleted => Self::Deleted,
        }
    }
}

fn effect(record: &EffectRecord) -> Result<(AnyName, Effect), RecordError> {
    let effect = match record.kind() {
        v1::resource_change::Kind::Created => Effect::Created,
        v1::resource_change::Kind::Updated => Effect::Updated,
        v1::resource_change::Kind::Unchanged => Effect::Unchanged,
        v1::resource_change::Kind::Deleted => Effect::Deleted,
        v1::resource_change::Kind::Unspecified => return Err(RecordError::Incomplete),
    };
    Ok((any_name(&record.name)?, effect))
}

fn counters_record(counters: &Counters) -> CountersRecord {
    CountersRecord {
        network: counters.network,
        vni: counters.vni,
        host: counters.host,
        rule: counters.rule,
        identity: counters.identity,
        mac: counters.mac,
        tenant: counters.tenant,
    }
}

fn identity_record(network: &NetworkName, set: &IdentitySet) -> IdentityRecord {
    IdentityRecord {
        network: network.to_string(),
        number: set.number,
        security_groups: set.groups.iter().map(ToString::to_string).collect(),
    }
}

fn identity(record: &IdentityRecord) -> Result<(NetworkName, IdentitySet), RecordError> {
    let group =
        |name: &String| name.parse::<SecurityGroupName>().map_err(|error| RecordError::Invalid(error.to_string()));
    let groups = record.security_groups.iter().map(group).collect::<Result<_, _>>()?;
    Ok((network_name(&record.network)?, IdentitySet { number: record.number, groups }))
}

fn network_name(name: &str) -> Result<NetworkName, RecordError> {
    name.parse().map_err(|error: andromede_model::NameError| RecordError::Invalid(error.to_string()))
}

fn any_name(name: &str) -> Result<AnyName, RecordError> {
    name.parse().map_err(|error: andromede_model::NameError| RecordError::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::fixtures::two_networks;

    #[test]
    fn every_commit_comes_back_as_it_was() {
        for commit in two_networks() {
            let bytes = Record::new(&commit, "user/alice", 7).encode_to_vec();
            let record = Record::read(&bytes).unwrap();
            assert_eq!(record.principal, "user/alice");
            assert_eq!(record.into_commit().unwrap(), commit);
        }
    }

    #[test]
    fn a_newer_version_and_junk_are_refused() {
        let newer = Record { version: VERSION + 1, ..Record::default() }.encode_to_vec();
        assert!(matches!(Record::read(&newer), Err(RecordError::Version { found: 2 })));
        assert!(matches!(Record::read(&[]), Err(RecordError::Version { found: 0 })));
        assert!(matches!(Record::read(b"junk"), Err(RecordError::Malformed(_))));
        let empty = Record { version: VERSION, ..Record::default() };
        assert!(matches!(empty.into_commit(), Err(RecordError::Incomplete)));
    }
}
