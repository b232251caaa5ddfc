//! What of a claim may be written.

use andromede_model::{AnyName, Commit, HostName, Model, NameError, NetworkName, Resource, Violation};

use crate::{
    access::Principal,
    change::{Refused, WriteError},
};

/// How often a claim is tried again without what was refused of it. The model names all that is wrong at once, so that a further round is
/// needed only for what was hidden behind the first; and where the host has no room, each round claims half of it: of 1,000 in ten.
const ROUNDS: usize = 14;

/// What of a claim is written.
#[derive(Debug)]
pub struct Settled<T> {
    /// The commit, with what goes with it.
    pub prepared: T,
    /// Ports that are written, in the order of the claim.
    pub written: Vec<AnyName>,
    /// Ports that are deleted, in the order of the claim.
    pub deleted: Vec<AnyName>,
    /// What was refused.
    pub refused: Vec<Refused>,
}

/// Makes a commit of what a host may write of its claim, in the state to which it will be added. `prepare` makes a commit of a write, or
/// says what is wrong with it.
pub fn settle<T: AsRef<Commit>>(
    model: &Model,
    principal: &Principal,
    written: Vec<Resource>,
    deleted: Vec<AnyName>,
    prepare: &dyn Fn(Vec<Resource>, Vec<AnyName>) -> Result<T, WriteError>,
) -> Result<Settled<T>, WriteError> {
    let host = format!("hosts/{}", principal.name).parse::<HostName>();
    let host = host.map_err(|error: NameError| WriteError::Invalid(vec![error.violation("host")]))?;
    let mut draft = Draft::new(model, &host, written, deleted);
    for _ in 0..ROUNDS {
        match prepare(draft.written.clone(), draft.deleted.clone()) {
            Ok(prepared) => {
                // What the model added to the ports must be the host's too.
                let written = prepared.as_ref().written.iter();
                let foreign = written.filter(|resource| may_write(model, &host, resource).is_err());
                let foreign: Vec<AnyName> = foreign.map(Resource::name).collect();
                if foreign.is_empty() {
                    return Ok(draft.settled(prepared));
                }
                draft.take_out(&|name| foreign.contains(name), OWN_ADDRESSES);
            }
            Err(WriteError::Invalid(violations)) => draft.blame(&violations),
            Err(WriteError::Full(full)) => draft.halve(&reason(&full.violation())),
            Err(other) => return Err(other),
        }
    }
    draft.take_out(&|_| true, "it was claimed together with others that were refused; claim it again");
    prepare(Vec::new(), Vec::new()).map(|prepared| draft.settled(prepared))
}

/// A claim whose bad parts are being taken out.
struct Draft {
    written: Vec<Resource>,
    deleted: Vec<AnyName>,
    refused: Vec<Refused>,
}

impl Draft {
    /// What this host may write of a claim.
    fn new(model: &Model, host: &HostName, written: Vec<Resource>, deleted: Vec<AnyName>) -> Self {
        let mut draft = Self { written: Vec::new(), deleted: Vec::new(), refused: Vec::new() };
        for resource in written {
            match may_write(model, host, &resource) {
                Ok(()) => draft.written.push(resource),
                Err(rule) => draft.refuse(&resource.name(), rule),
            }
        }
        for name in deleted {
            match may_delete(model, host, &name) {
                Ok(true) => draft.deleted.push(name),
                // It is gone already: a host that repeats itself is right.
                Ok(false) => {}
                Err(rule) => draft.refuse(&name, rule),
            }
        }
        draft
    }

    /// Refuses the later half of what is written.
    fn halve(&mut self, reason: &str) {
        let later: Vec<AnyName> = self.written.iter().skip(self.written.len() / 2).map(Resource::name).collect();
        self.take_out(&|name| later.contains(name), reason);
    }

    fn refuse(&mut self, name: &AnyName, reason: &str) {
        self.refused.push(Refused { name: name.to_string(), reason: reason.to_owned() });
    }

    /// Refuses every part with such a name.
    fn take_out(&mut self, is_bad: &dyn Fn(&AnyName) -> bool, reason: &str) {
        let names = self.written.iter().map(Resource::name).chain(self.deleted.iter().cloned());
        for name in names.filter(is_bad).collect::<Vec<_>>() {
            self.refuse(&name, reason);
        }
        self.written.retain(|resource| !is_bad(&resource.name()));
        self.deleted.retain(|name| !is_bad(name));
    }

    /// Takes out what violations are about.
    fn blame(&mut self, violations: &[Violation]) {
        // All of them are read against the claim as it was prepared, before anything of it is taken out.
        let blamed: Vec<_> =
            violations.iter().map(|violation| (self.concerned(violation), reason(violation))).collect();
        for (names, reason) in blamed {
            self.take_out(&|name| names.contains(name), &reason);
        }
    }

    /// The parts that a violation is about: one, or those in a network, or all.
    fn concerned(&self, violation: &Violation) -> Vec<AnyName> {
        let names = || self.written.iter().map(Resource::name).chain(self.deleted.iter().cloned());
        let one = match place(&violation.field) {
            Some(("resources", place)) => self.written.get(place).map(Resource::name),
            Some(("deleted", place)) => self.deleted.get(place).cloned(),
            _ if violation.field == "name" => self.deleted.first().cloned(),
            _ => None,
        };
        if let Some(name) = one {
            return vec![name];
        }
        // A deletion can only make room: a rule about the whole network is broken by what is written.
        let in_network = |name: &AnyName| name.network().is_some_and(|network| speaks_of(&violation.field, &network));
        let written: Vec<AnyName> = self.written.iter().map(Resource::name).filter(in_network).collect();
        if written.is_empty() { names().collect() } else { written }
    }

    fn settled<T>(self, prepared: T) -> Settled<T> {
        let written = self.written.iter().map(Resource::name).collect();
        Settled { prepared, written, deleted: self.deleted, refused: self.refused }
    }
}

/// The list of a path such as `resources[3].port.mac`, and the place in it.
fn place(field: &str) -> Option<(&str, usize)> {
    let (list, rest) = field.split_once('[')?;
    let (place, _) = rest.split_once(']')?;
    Some((list, place.parse().ok()?))
}

/// Does the path of a field begin with the name of this network, or of something in it?
fn speaks_of(field: &str, network: &NetworkName) -> bool {
    field.strip_prefix(network.as_str()).is_some_and(|rest| rest.starts_with(['.', '/', ':']))
}

/// A violation in words, without the place in a request that only the controller has seen.
fn reason(violation: &Violation) -> String {
    let field = violation.field.rsplit_once("].port.").map_or(violation.field.as_str(), |(_, field)| field);
    Violation { field: field.to_owned(), ..violation.clone() }.to_string()
}

const ON_ITSELF: &str = "a host writes ports that are on itself";
const OWN_ADDRESSES: &str = "a port that a host writes has addresses, and each is in a subnet that is leased to the host; \
                             lease a subnet to it: field `host` of the subnet";
const NAME_TAKEN: &str = "this name is that of a port that the host did not write; leave it";
const NOT_ITS_OWN: &str = "a host deletes ports that it wrote, in networks of which a subnet is leased to it";

/// May this host write this?
fn may_write(model: &Model, host: &HostName, resource: &Resource) -> Result<(), &'static str> {
    is_own(model, host, resource)?;
    match model.get(&resource.name()) {
        Some(before) => is_own(model, host, &before).map_err(|_| NAME_TAKEN),
        None => Ok(()),
    }
}

/// May this host delete this? Yes, no, or it is gone already. Of a network of which no subnet is leased to the host, the answer is the
/// same whatever there is.
fn may_delete(model: &Model, host: &HostName, name: &AnyName) -> Result<bool, &'static str> {
    let network = name.network().filter(|_| matches!(name, AnyName::Port(_))).ok_or(NOT_ITS_OWN)?;
    match model.get(name) {
        Some(before) => is_own(model, host, &before).map(|()| true).map_err(|_| NOT_ITS_OWN),
        None if model.leases(host, &network) => Ok(false),
        None => Err(NOT_ITS_OWN),
    }
}

/// Is it a port on this host, with addresses of subnets that are leased to it, and no others?
fn is_own(model: &Model, host: &HostName, resource: &Resource) -> Result<(), &'static str> {
    let Resource::Port(port) = resource else { return Err("a host writes ports only") };
    if port.host.as_ref() != Some(host) {
        return Err(ON_ITSELF);
    }
    let network = port.name.network();
    let is_leased = |address| model.subnet_of(&network, address).and_then(|subnet| subnet.host.as_ref()) == Some(host);
    // Without an address nothing would bind the port to a lease: the model would give it one of a subnet that is nobody's.
    if port.addresses.is_empty() || !port.addresses.iter().copied().all(is_leased) {
        return Err(OWN_ADDRESSES);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use andromede_proto::v1;

    use andromede_model::Port;

    use super::*;
    use crate::access::Role;
    use crate::fixtures::{host, network, port, resource, subnet, tenant};

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

    struct Whole(Commit);

    impl AsRef<Commit> for Whole {
        fn as_ref(&self) -> &Commit {
            &self.0
        }
    }

    fn whole(model: &Model, written: Vec<Resource>, deleted: Vec<AnyName>) -> Result<Whole, WriteError> {
        model.prepare(written, deleted).map(Whole).map_err(WriteError::Invalid)
    }

    fn h1() -> Principal {
        Principal { role: Role::Host(None), name: "h1".to_owned() }
    }

    fn claimed(written: &[Resource], deleted: &[&str]) -> Settled<Whole> {
        let model = model();
        let names = deleted.iter().map(|name| name.parse().unwrap()).collect();
        settle(&model, &h1(), written.to_vec(), names, &|written, deleted| whole(&model, written, deleted)).unwrap()
    }

    /// Why each part was refused.
    fn refused(written: &[Resource], deleted: &[&str]) -> Vec<String> {
        claimed(written, deleted).refused.into_iter().map(|refused| refused.reason).collect()
    }

    fn in_n(port: &str) -> String {
        format!("tenants/a/networks/n/ports/{port}")
    }

    #[test]
    fn a_host_writes_and_deletes_ports_in_its_own_subnets() {
        assert!(refused(&[pod("new", "10.0.1.7", 1), pod("own", "10.0.1.8", 1)], &[]).is_empty());
        let gone = claimed(&[], &[&in_n("own"), &in_n("gone-already")]);
        assert!(gone.refused.is_empty());
        assert_eq!(gone.prepared.0.deleted, [in_n("own").parse().unwrap()]);
    }

    #[test]
    fn a_host_touches_nothing_of_others() {
        let unnamed = |name: &str, on: u8| {
            let Resource::Port(port) = pod(name, "10.0.1.7", on) else { unreachable!() };
            Resource::from(Port { addresses: Vec::new(), ..port })
        };
        let theirs = in_n("theirs");
        let declared = in_n("declared");
        let cases: Vec<(Vec<Resource>, Vec<&str>, &str)> = vec![
            (vec![pod("new", "10.0.0.7", 1)], vec![], OWN_ADDRESSES),
            (vec![pod("new", "10.0.2.7", 1)], vec![], OWN_ADDRESSES),
            (vec![pod("new", "10.0.2.7", 2)], vec![], ON_ITSELF),
            // Without addresses the model would choose one, of a subnet that is leased to nobody.
            (vec![unnamed("new", 1)], vec![], OWN_ADDRESSES),
            (vec![unnamed("own", 1)], vec![], OWN_ADDRESSES),
            // A name that another port has.
            (vec![pod("theirs", "10.0.1.7", 1)], vec![], NAME_TAKEN),
            (vec![pod("declared", "10.0.1.7", 1)], vec![], NAME_TAKEN),
            (vec![leased(7, Some(1))], vec![], "a host writes ports only"),
            (vec![], vec![&theirs], NOT_ITS_OWN),
            (vec![], vec![&declared], NOT_ITS_OWN),
            (vec![], vec!["hosts/h2"], NOT_ITS_OWN),
        ];
        for (written, deleted, rule) in cases {
            let settled = claimed(&written, &deleted);
            assert_eq!(settled.refused.len(), 1, "{written:?} {deleted:?}");
            assert_eq!(settled.refused[0].reason, rule, "{written:?} {deleted:?}");
            assert!(settled.prepared.0.is_empty(), "{written:?} {deleted:?}");
        }
    }

    #[test]
    fn what_a_commit_gives_a_port_is_checked_too() {
        let model = model();
        // A model that moves the port to an address that is nobody's.
        let prepare = |written: Vec<Resource>, deleted| {
            let moved = written.into_iter().map(|_| pod("new", "10.0.0.7", 1)).collect();
            whole(&model, moved, deleted)
        };
        let settled = settle(&model, &h1(), vec![pod("new", "10.0.1.7", 1)], vec![], &prepare).unwrap();
        assert!(settled.prepared.0.is_empty());
        assert_eq!(settled.refused[0].reason, OWN_ADDRESSES);
    }

    #[test]
    fn bad_parts_do_not_hold_back_the_good_ones() {
        let unknown_group = |name: &str| {
            let Resource::Port(port) = pod(name, "10.0.1.30", 1) else { unreachable!() };
            let groups = ["tenants/a/networks/n/securityGroups/none".parse().unwrap()].into();
            Resource::from(Port { groups, ..port })
        };
        // The router's address, an address that another port has, one that two want, a group that is not there.
        let bad = [pod("gateway", "10.0.1.1", 1), pod("held", "10.0.1.9", 1), unknown_group("group")];
        let good = [pod("x", "10.0.1.20", 1), pod("y", "10.0.1.21", 1)];
        let settled = claimed(&[&bad[..], &good[..]].concat(), &[&in_n("theirs"), &in_n("gone")]);
        let names: Vec<String> = settled.prepared.0.written.iter().map(|it| it.name().to_string()).collect();
        assert_eq!(names, ["x", "y"].map(in_n));
        let mut refused: Vec<String> = settled.refused.into_iter().map(|it| it.name).collect();
        refused.sort();
        assert_eq!(refused, ["gateway", "group", "held", "theirs"].map(in_n));
    }

    #[test]
    fn where_a_host_has_no_room_it_gets_what_fits() {
        let model = model();
        let full = || crate::capacity::Full {
            field: "resources[0].port.host".to_owned(),
            host: None,
            table: andromede_abi::maps::LOCATIONS,
            rows: 0,
            most: 0,
            largest: (crate::capacity::Largest::Policies, 0),
            others: 0,
        };
        let prepare = |written: Vec<Resource>, deleted| {
            if written.len() > 3 { Err(WriteError::Full(Box::new(full()))) } else { whole(&model, written, deleted) }
        };
        let written = (20..30).map(|last| pod(&format!("p{last}"), &format!("10.0.1.{last}"), 1)).collect();
        let settled = settle(&model, &h1(), written, vec![in_n("own").parse().unwrap()], &prepare).unwrap();
        assert_eq!((settled.prepared.0.written.len(), settled.refused.len()), (2, 8));
        assert_eq!(settled.prepared.0.deleted.len(), 1, "what makes room is done");
    }

    #[test]
    fn a_refusal_tells_no_host_what_there_is() {
        // The same of a network that is there, and of one that is not.
        let elsewhere = |tenant: &str| {
            let Resource::Port(own) = pod("own", "10.0.1.7", 1) else { unreachable!() };
            let name = format!("tenants/{tenant}/networks/n/ports/p").parse().unwrap();
            let deleted = format!("tenants/{tenant}/networks/n/ports/p2");
            refused(&[Port { name, ..own }.into()], &[&deleted])
        };
        let mut model = model();
        let commit =
            model.prepare(vec![tenant("b"), network("b"), subnet("b"), port("b", 2, None, &[])], vec![]).unwrap();
        model.commit(&commit).unwrap();
        let there = |deleted: &str| may_delete(&model, &"hosts/h1".parse().unwrap(), &deleted.parse().unwrap());
        assert_eq!(there("tenants/b/networks/n/ports/p2"), there("tenants/c/networks/n/ports/p2"));
        assert_eq!(elsewhere("b"), elsewhere("c"));
    }
}
