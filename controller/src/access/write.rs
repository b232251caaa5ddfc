//! What a caller may write. The writer asks, on the state to which the write will be added; so does a plan.

use andromede_model::{
    AnyName, HostName, Model, Network, Port, PortLimits, Resource, Subnet, TenantName, Violation, Vni,
};
use andromede_proto::{difference, v1};

use super::{Principal, Role, sight::owner};
use crate::change::{Change, WriteError};

/// Refuses what the caller may not write, and puts into fields that are not the caller's what they are.
pub fn check(model: &Model, change: &mut Change) -> Result<(), WriteError> {
    match &change.principal.role {
        // What a host may is asked port by port when the writer prepares its claim: `claim::settle`.
        Role::Operator | Role::Anonymous | Role::Host(_) => Ok(()),
        // It writes down what it denied, and nothing else.
        Role::Controller if change.written.is_empty() && change.deleted.is_empty() => Ok(()),
        Role::TenantAdmin(tenant) => {
            let tenant = tenant.clone();
            of_tenant(model, &tenant, change)
        }
        // The table of rights does not let them come here.
        Role::NetworkEngineer | Role::TenantReader(_) | Role::Controller | Role::Stranger => {
            Err(WriteError::Forbidden(vec![reads_only(&change.principal)]))
        }
    }
}

fn reads_only(principal: &Principal) -> Violation {
    Violation::new("principal", principal, "this role writes nothing", "ask an operator")
}

/// A tenant's administrator writes what belongs to the tenant, and of that not what the operator decides.
fn of_tenant(model: &Model, tenant: &TenantName, change: &mut Change) -> Result<(), WriteError> {
    // By the name alone, before anything is looked up: the answer is the same whether it is there or not.
    let conditions = change.conditions.iter().map(|(name, _)| name.clone());
    let named = change.written.iter().map(Resource::name).chain(change.deleted.iter().cloned()).chain(conditions);
    let foreign = { named }.find(|name| owner(name).as_ref() != Some(tenant));
    if let Some(foreign) = foreign {
        return Err(WriteError::NotFound(foreign));
    }
    let mut wrong = Vec::new();
    for (place, resource) in change.written.iter_mut().enumerate() {
        let field = |field: &str| format!("resources[{place}].{}.{field}", resource.kind().field());
        let refusals = keep(resource, model.get(&resource.name()));
        match refusals {
            Ok(kept) => *resource = kept,
            Err((name, value)) => wrong.push(operators(field(name), value)),
        }
    }
    for (place, name) in change.deleted.iter().enumerate() {
        if matches!(name, AnyName::Tenant(_) | AnyName::Vtep(_)) {
            wrong.push(operators(format!("deleted[{place}]"), name.to_string()));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(WriteError::Forbidden(wrong)) }
}

fn operators(field: String, value: String) -> Violation {
    Violation::new(field, value, "only an operator decides this", "leave it as it is, or ask an operator")
}

/// What a tenant may not write of a resource: its name and the value that was given.
type Refusal = (&'static str, String);

/// The resource with what the operator decided as it was; or the field in which it would decide otherwise.
/// Every field is named here, so that a new one is thought of.
fn keep(resource: &Resource, before: Option<Resource>) -> Result<Resource, Refusal> {
    match resource {
        Resource::Network(network) => {
            let Network {
                name: _,
                vni,
                mtu: _,
                timeouts: _,
                // A tenant may bind a network more closely than an operator binds the tenant.
                residency: _,
                tenant_index: _,
                index: _,
                revision: _,
                labels: _,
            } = network;
            let decided = match before {
                Some(Resource::Network(before)) => before.vni,
                _ => Vni::UNSET,
            };
            let vni = kept("vni", vni, &Vni::UNSET, decided, Vni::to_string)?;
            Ok(Network { vni, ..network.clone() }.into())
        }
        Resource::Subnet(subnet) => {
            let Subnet { name: _, cidr: _, gateway: _, host, reservations: _, revision: _, labels: _ } = subnet;
            let decided = match before {
                Some(Resource::Subnet(before)) => before.host,
                _ => None,
            };
            let host = placed(host.as_ref(), decided)?;
            Ok(Subnet { host, ..subnet.clone() }.into())
        }
        Resource::Port(port) => {
            let Port {
                name: _,
                addresses: _,
                mac: _,
                host,
                groups: _,
                limits,
                identity: _,
                revision: _,
                uid: _,
                labels: _,
            } = port;
            let (at, most) = match before {
                Some(Resource::Port(before)) => (before.host, before.limits),
                _ => (None, PortLimits::default()),
            };
            let host = placed(host.as_ref(), at)?;
            let limits = kept("limits", limits, &PortLimits::default(), most, |limits| format!("{limits:?}"))?;
            Ok(Port { host, limits, ..port.clone() }.into())
        }
        Resource::SecurityGroup(_) | Resource::PrefixList(_) => Ok(resource.clone()),
        // In a bundle stands what is there: it may be told again, as it is.
        Resource::Zone(_)
        | Resource::Tenant(_)
        | Resource::Vtep(_)
        | Resource::Host(_)
        | Resource::OperatorPolicy(_) => match before {
            Some(before) if same(resource, &before) => Ok(before),
            _ => Err(("name", resource.name().to_string())),
        },
    }
}

/// Where the operator placed it, if the caller says nothing else.
fn placed(given: Option<&HostName>, decided: Option<HostName>) -> Result<Option<HostName>, Refusal> {
    kept("host", &given.cloned(), &None, decided, |host| host.as_ref().map(ToString::to_string).unwrap_or_default())
}

/// The value that was decided, if none or the same is given.
fn kept<T: PartialEq>(
    field: &'static str,
    given: &T,
    unset: &T,
    decided: T,
    shown: impl Fn(&T) -> String,
) -> Result<T, Refusal> {
    if given == unset || *given == decided { Ok(decided) } else { Err((field, shown(given))) }
}

/// Does it say the same, or of a tenant nothing but its name?
fn same(resource: &Resource, before: &Resource) -> bool {
    if let Resource::Tenant(tenant) = resource {
        let bare = v1::Tenant { name: tenant.name.to_string(), ..v1::Tenant::default() };
        if Resource::try_from(v1::Resource::from(bare)).is_ok_and(|bare| bare == *resource) {
            return true;
        }
    }
    let fields = difference::fields(&before.clone().into(), &resource.clone().into());
    fields.is_ok_and(|fields| fields.is_empty())
}
