//! What a host may write: ports of workloads to whom it gave addresses of subnets that are leased to it, and nothing else.

use andromede_model::{AnyName, HostName, Model, Port, Resource, Violation};
use andromede_proto::agent::v1::{Claim, ClaimAnswer};

use crate::{
    access::{Principal, Role},
    change::{Change, WriteError},
    writer::Writer,
};

/// Most ports in one claim.
const PORTS: usize = 1_000;

/// Carries a claim out, and says what became of it.
pub async fn carry_out(writer: Writer, host: HostName, claim: Claim) -> ClaimAnswer {
    let id = claim.id;
    let error = match write(&writer, &host, claim).await {
        Ok(()) => String::new(),
        Err(WriteError::Invalid(violations)) => {
            violations.iter().take(8).map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        Err(other) => other.to_string(),
    };
    if !error.is_empty() {
        tracing::warn!(%host, error, "claim refused");
    }
    ClaimAnswer { id, error }
}

async fn write(writer: &Writer, host: &HostName, claim: Claim) -> Result<(), WriteError> {
    let number = claim.written.len().saturating_add(claim.deleted.len());
    if number > PORTS {
        let rule = format!("a claim has at most {PORTS} ports");
        return Err(WriteError::Invalid(vec![Violation::new("claim", number, rule, "claim them in several")]));
    }
    let written: Result<Vec<Port>, _> = claim.written.into_iter().map(Port::try_from).collect();
    let written = written.map_err(WriteError::Invalid)?.into_iter().map(Resource::from).collect();
    let name = |(place, name): (usize, &String)| {
        let name = name.parse().map(AnyName::Port);
        name.map_err(|error: andromede_model::NameError| error.violation(format!("claim.deleted[{place}]")))
    };
    let deleted: Result<_, Violation> = claim.deleted.iter().enumerate().map(name).collect();
    let deleted = deleted.map_err(|violation| WriteError::Invalid(vec![violation]))?;
    // Whoever opened the session is that host, with or without a certificate.
    let principal = Principal { role: Role::Host(None), name: host.id().to_owned() };
    let change = Change { written, deleted, ..Change::new(principal, "claim") };
    writer.write(change).await.map(drop)
}

/// Checks a write of a host against the state to which it will be added, and takes out deletions of what is gone already: a host that
/// repeats itself is right.
pub fn check(
    model: &Model,
    principal: &Principal,
    written: &[Resource],
    deleted: &mut Vec<AnyName>,
) -> Result<(), Vec<Violation>> {
    let wrong = |what: &AnyName, rule: String, fix: &str| {
        Err(vec![Violation::new(format!("claim: {what}"), principal, rule, fix)])
    };
    let Ok(host) = format!("hosts/{}", principal.name).parse::<HostName>() else {
        return Err(vec![Violation::new(
            "host",
            &principal.name,
            "this is no name of a host",
            "correct the certificate",
        )]);
    };
    deleted.retain(|name| model.get(name).is_some());
    for resource in written {
        let before = model.get(&resource.name());
        for resource in [Some(resource), before.as_ref()].into_iter().flatten() {
            check_own(model, &host, resource).or_else(|(rule, fix)| wrong(&resource.name(), rule, fix))?;
        }
    }
    for resource in deleted.iter().filter_map(|name| model.get(name)) {
        check_own(model, &host, &resource).or_else(|(rule, fix)| wrong(&resource.name(), rule, fix))?;
    }
    Ok(())
}

/// Is it a port that this host may write?
fn check_own(model: &Model, host: &HostName, resource: &Resource) -> Result<(), (String, &'static str)> {
    let Resource::Port(port) = resource else {
        return Err(("a host writes ports only".to_owned(), "use the API with a user's certificate"));
    };
    if port.host.as_ref() != Some(host) {
        return Err((
            format!("a host writes ports that are on itself; the host of this one is not {host}"),
            "leave it",
        ));
    }
    let network = port.name.network();
    for address in &port.addresses {
        let subnet = model.subnet_of(&network, *address);
        if subnet.and_then(|subnet| subnet.host.as_ref()) != Some(host) {
            let rule =
                format!("a host gives out addresses of subnets that are leased to it; {address} is in none of them");
            return Err((rule, "lease a subnet with this address to the host: field `host` of the subnet"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use andromede_proto::v1;

    use super::*;
    use crate::fixtures::{host, network, port, resource, tenant};

    fn leased(last: u8, to: Option<u8>) -> Resource {
        resource(v1::resource::Kind::Subnet(v1::Subnet {
            name: format!("tenants/a/networks/n/subnets/s{last}"),
            cidr: format!("10.0.{last}.0/24"),
            host: to.map(|host| format!("hosts/h{host}")).unwrap_or_default(),
            ..v1::Subnet::default()
        }))
    }

    fn pod(name: &str, address: &str, on: u8) -> Resource {
        let Resource::Port(port) = port("a", 2, Some(on), &[]) else { unreachable!() };
        let name = format!("tenants/a/networks/n/ports/{name}").parse().unwrap();
        Port { name, addresses: vec![address.parse().unwrap()], ..port }.into()
    }

    /// `hosts/h1` holds 10.0.1.0/24, `hosts/h2` 10.0.2.0/24, nobody 10.0.0.0/24.
    fn model() -> Model {
        let mut model = Model::default();
        let mut written = vec![tenant("a"), network("a"), host(1, 1), host(2, 2)];
        written.extend([leased(0, None), leased(1, Some(1)), leased(2, Some(2))]);
        written.extend([pod("declared", "10.0.0.9", 1), pod("theirs", "10.0.2.9", 2), pod("own", "10.0.1.9", 1)]);
        let commit = model.prepare(written, Vec::new()).unwrap();
        model.commit(&commit).unwrap();
        model
    }

    fn refused(written: &[Resource], deleted: &[&str]) -> Option<String> {
        let h1 = Principal { role: Role::Host(None), name: "h1".to_owned() };
        let name = |name: &&str| format!("tenants/a/networks/n/ports/{name}").parse().unwrap();
        let mut deleted = deleted.iter().map(name).collect();
        check(&model(), &h1, written, &mut deleted).err().map(|violations| violations[0].rule.clone())
    }

    #[test]
    fn a_host_writes_and_deletes_ports_in_its_own_subnets() {
        assert_eq!(refused(&[pod("new", "10.0.1.7", 1), pod("own", "10.0.1.8", 1)], &[]), None);
        assert_eq!(refused(&[], &["own", "gone-already"]), None);
    }

    #[test]
    fn a_host_touches_nothing_of_others() {
        let cases = [
            (vec![pod("new", "10.0.0.7", 1)], vec![], "in none of them"),
            (vec![pod("new", "10.0.2.7", 1)], vec![], "in none of them"),
            (vec![pod("new", "10.0.2.7", 2)], vec![], "on itself"),
            // A name that another port has.
            (vec![pod("theirs", "10.0.1.7", 1)], vec![], "on itself"),
            (vec![pod("declared", "10.0.1.7", 1)], vec![], "in none of them"),
            (vec![leased(7, Some(1))], vec![], "ports only"),
            (vec![], vec!["theirs"], "on itself"),
            (vec![], vec!["declared"], "in none of them"),
        ];
        for (written, deleted, words) in cases {
            let rule = refused(&written, &deleted).unwrap_or_default();
            assert!(rule.contains(words), "{written:?} {deleted:?}: {rule:?}");
        }
    }
}
