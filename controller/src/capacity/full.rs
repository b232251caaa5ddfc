//! What is said when a host has no room.

use andromede_abi::maps::Table;
use andromede_model::{AnyName, Cause, HostName, NetworkName, Violation};

/// What takes most of a table, of what the write concerns: other tenants' networks are not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Largest {
    /// A network.
    Network(NetworkName),
    /// The groups that a port of a network has together.
    Groups(NetworkName, Vec<String>),
    /// The operator's policies.
    Policies,
}

impl std::fmt::Display for Largest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Network(network) => write!(f, "{network}"),
            Self::Groups(network, groups) => write!(f, "the groups {} of {network}", groups.join(", ")),
            Self::Policies => f.write_str("the operator's policies"),
        }
    }
}

/// A host whose table would have more rows than it may be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.violation())]
pub struct Full {
    /// Path of the field in the request.
    pub field: String,
    /// The host; of several the one that would be fullest. None: which hosts there are does not concern the caller, nor how full they
    /// are by others.
    pub host: Option<HostName>,
    /// The table.
    pub table: Table,
    /// Rows that it would have.
    pub rows: usize,
    /// Rows that it may have: see `plan::Cost::limits`.
    pub most: usize,
    /// What takes most of them, and how many.
    pub largest: (Largest, usize),
    /// How many hosts would be too full besides.
    pub others: usize,
}

impl Full {
    /// The same as a rule that the write breaks.
    pub fn violation(&self) -> Violation {
        let (largest, taken) = &self.largest;
        let table = self.table.name;
        let others = match self.others {
            0 => String::new(),
            others => format!(", and {others} further hosts have no room"),
        };
        let (value, rule) = match &self.host {
            Some(host) => {
                let (rows, most) = (self.rows, self.most);
                let taken = format!("{largest} would take {taken} of them");
                (
                    host.as_str(),
                    format!("its table {table} would need {rows} rows and may have {most}; {taken}{others}"),
                )
            }
            None => ("", format!("a host has no room in its table {table}; {largest} would take {taken} rows there")),
        };
        let fix = "place ports on other hosts, let ports share security groups, or use fewer rules and prefixes";
        Violation::new(self.field.clone(), value, rule, fix).of(Cause::Quota)
    }

    /// The same for a tenant: neither the host nor what others take is told.
    #[must_use]
    pub fn for_tenant(self) -> Self {
        Self { host: None, rows: 0, most: 0, others: 0, ..self }
    }

    /// The field of the request by which the host comes to be full: a port that is placed there, or else whatever was written first.
    pub(super) fn field(request: &[AnyName], port: Option<&AnyName>) -> String {
        let place = port.and_then(|port| request.iter().position(|name| name == port));
        match (place, request.first()) {
            (Some(place), _) => format!("resources[{place}].port.host"),
            (None, Some(first)) => format!("resources[0].{}", first.kind().field()),
            (None, None) => port.map_or_else(|| "resources".to_owned(), ToString::to_string),
        }
    }
}
