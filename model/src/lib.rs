//! Tenants, networks, ports, groups, hosts: valid by construction.
//!
//! [`Model`] is the whole state. A write is first *prepared*: everything is checked, numbers are given out, and the result is
//! a [`Commit`]. Commits are what a store keeps; folding them from the first gives the same model again.
//! Nothing here does input or output, reads a clock or draws a random number.

mod budget;
mod check;
mod commit;
mod day;
mod draft;
mod group;
mod host;
mod ipam;
mod label;
pub mod limits;
mod model;
mod name;
mod network;
mod number;
mod operator_policy;
mod port;
mod prefix;
mod prefix_list;
mod prepare;
mod quota;
mod reservation;
mod residency;
mod resource;
mod shared;
mod state;
mod subnet;
mod tenant;
mod timeouts;
mod uid;
mod utilization;
mod value;
mod view;
mod violation;
mod vtep;
mod zone;

pub use budget::{PortLimits, RateLimits, TenantLimits};
pub use commit::{Commit, CommitError, Counters};
pub use day::Day;
pub use group::{Action, Direction, Existing, Remote, Rule, SecurityGroup};
pub use host::{Host, HostState};
pub use ipam::{Rest, Resting};
pub use label::Labels;
pub use model::Model;
pub use name::{
    AnyName, HostName, NameError, NetworkName, OperatorPolicyName, PortName, PrefixListName, ReservationName, RuleName,
    SecurityGroupName, SubnetName, TenantName, VtepName, ZoneName,
};
pub use network::Network;
pub use operator_policy::OperatorPolicy;
pub use port::Port;
pub use prefix::Prefix;
pub use prefix_list::PrefixList;
pub use quota::TenantQuotas;
pub use reservation::Reservation;
pub use residency::{Admitted, Residency};
pub use resource::{Resource, ResourceKind};
pub use shared::SharedMap;
pub use subnet::Subnet;
pub use tenant::Tenant;
pub use timeouts::Timeouts;
pub use uid::Uid;
pub use utilization::Utilization;
pub use value::{GATEWAY_MAC, MacAddress, PortRange, Protocol, ValueError, Vni, parse_address};
pub use view::{IdentitySet, NetworkView, ViewDelta};
pub use violation::{Cause, Violation};
pub use vtep::Vtep;
pub use zone::{Jurisdiction, Zone, ZoneOperator};
