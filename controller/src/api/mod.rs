//! The services of `andromede.v1` and the service for agents. Each checks its input at the edge and does nothing but that
//! and the call of the part that knows.

mod agents;
mod diagnostics;
mod edit;
mod fabric;
mod history;
mod in_force;
mod join;
mod pages;
mod requests;
mod resources;
mod rules;
mod usage;
mod watch;

use andromede_model::Violation;
use tonic::Status;

pub use agents::Agents;
pub use diagnostics::Diagnostics;
pub use fabric::Fabric;
pub use history::History;
pub use join::Join;
pub use resources::Resources;
pub use usage::Usages;
pub use watch::Watches;

use crate::errors;

/// Parses a name given in a field.
fn name<N>(field: &str, text: &str) -> Result<N, Status>
where
    N: std::str::FromStr<Err = andromede_model::NameError>,
{
    text.parse::<N>().map_err(|error| errors::invalid(&[error.violation(field)]))
}

/// The status for one broken rule.
fn broken(field: &str, value: impl std::fmt::Display, rule: &str, fix: &str) -> Status {
    errors::invalid(&[Violation::new(field, value, rule, fix)])
}
