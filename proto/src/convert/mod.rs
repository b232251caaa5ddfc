//! Messages to model types and back: the only place where that happens.
//!
//! Whatever comes in is checked field by field. An error names the field by its path (`resources[3].port.addresses[0]`),
//! the value, the rule that it breaks, and a fix; all errors of a message come back together.

mod fields;
mod group;
mod limits;
mod resource;
mod timeouts;
mod view;
mod zone;

use andromede_model::{self as model, Violation};

use crate::{agent::v1 as agent, v1};
use fields::Fields;
pub use fields::FromMessage;

/// A message as a model type, or everything that is wrong with it. `path` is put before the names of its fields.
pub fn from_message<T: FromMessage>(message: T::Message, path: &str) -> Result<T, Vec<Violation>> {
    let mut violations = Vec::new();
    let value = T::read(message, &mut Fields::new(path, &mut violations));
    match value {
        Some(value) if violations.is_empty() => Ok(value),
        _ => Err(violations),
    }
}

/// The resources of a write; paths begin with `resources[0]`.
pub fn resources(messages: Vec<v1::Resource>) -> Result<Vec<model::Resource>, Vec<Violation>> {
    let mut violations = Vec::new();
    if messages.len() > model::limits::RESOURCES_PER_WRITE {
        violations.push(Violation::new(
            "resources",
            messages.len(),
            format!("a write has at most {} resources", model::limits::RESOURCES_PER_WRITE),
            "write them in several calls",
        ));
        return Err(violations);
    }
    let read = Fields::new("", &mut violations).list("resources", messages);
    if violations.is_empty() { Ok(read) } else { Err(violations) }
}

/// Rules of a list; paths begin with the name of the list and the place in it.
pub fn rules(list: &str, messages: Vec<v1::Rule>) -> Result<Vec<model::Rule>, Vec<Violation>> {
    let mut violations = Vec::new();
    let read = Fields::new("", &mut violations).list(list, messages);
    if violations.is_empty() { Ok(read) } else { Err(violations) }
}

macro_rules! try_from {
    ($($message:ty => $model:ty;)*) => { $(
        impl TryFrom<$message> for $model {
            type Error = Vec<Violation>;

            fn try_from(message: $message) -> Result<Self, Vec<Violation>> {
                from_message(message, "")
            }
        }
    )* };
}

try_from! {
    v1::Tenant => model::Tenant;
    v1::Network => model::Network;
    v1::Subnet => model::Subnet;
    v1::Port => model::Port;
    v1::Rule => model::Rule;
    v1::SecurityGroup => model::SecurityGroup;
    v1::Host => model::Host;
    v1::Vtep => model::Vtep;
    v1::PrefixList => model::PrefixList;
    v1::OperatorPolicy => model::OperatorPolicy;
    v1::Zone => model::Zone;
    v1::Resource => model::Resource;
    agent::NetworkView => model::NetworkView;
    agent::NetworkDelta => model::ViewDelta;
    agent::Identity => model::IdentitySet;
}
