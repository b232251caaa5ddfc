//! What a write must satisfy, and what it becomes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use andromede_model::{Action, Cause, Model, Port, Prefix, Remote, Resource, SecurityGroup, Uid, Vni, limits};
use common::{
    fabric, group, host, name, network, operator_policy, port, prefix_list, rule, subnet, tenant, violations, vtep,
    write,
};

#[test]
fn a_fabric_is_written_at_once_in_any_order() {
    let mut reversed = fabric();
    reversed.reverse();
    let model = Model::default();
    let commit = model.prepare(fabric(), vec![]).unwrap();
    assert_eq!(commit, model.prepare(reversed, vec![]).unwrap());
    let mut model = model;
    model.commit(&commit).unwrap();
    assert_eq!(model.revision(), 1);
    let a = model.port(&name("tenants/mairie/networks/net/ports/a")).unwrap();
    let b = model.port(&name("tenants/mairie/networks/net/ports/b")).unwrap();
    let other = model.port(&name("tenants/hopital/networks/net/ports/a")).unwrap();
    assert_eq!(a.addresses, other.addresses, "tenants may overlap");
    assert!(!a.mac.is_unset() && a.mac != b.mac);
    assert!(a.identity != 0 && b.identity != 0 && a.identity != b.identity && a.identity != other.identity);
    let one = model.network(&name("tenants/mairie/networks/net")).unwrap();
    let two = model.network(&name("tenants/hopital/networks/net")).unwrap();
    assert!(one.index != 0 && two.index != 0 && one.index != two.index && one.vni != two.vni && one.vni != Vni::UNSET);
}

#[test]
fn writing_the_same_again_changes_nothing() {
    let mut model = Model::default();
    write(&mut model, fabric());
    assert!(model.prepare(fabric(), vec![]).unwrap().is_empty());
    let shown: Vec<Resource> = model.snapshot().written;
    assert!(model.prepare(shown, vec![]).unwrap().is_empty(), "what is shown can be written back");
}

#[test]
fn a_port_that_is_made_anew_is_another_one() {
    let mut model = Model::default().at_epoch(3);
    write(&mut model, fabric());
    let uid = |model: &Model| model.port(&name("tenants/mairie/networks/net/ports/a")).unwrap().uid;
    let first = uid(&model);
    assert_eq!(first, Uid { epoch: 3, revision: 1 });
    let Some(Resource::Port(shown)) = model.get(&name("tenants/mairie/networks/net/ports/a")) else {
        panic!("no port")
    };
    // Moved, readdressed, with an identifier of somebody's invention: the same port.
    let moved = Port { host: None, uid: Uid { epoch: 9, revision: 9 }, ..shown.clone() };
    write(&mut model, vec![moved.into()]);
    assert_eq!(uid(&model), first);
    let gone = model.prepare(vec![], vec![shown.name.clone().into()]).unwrap();
    model.commit(&gone).unwrap();
    write(&mut model, vec![shown.into()]);
    assert!(uid(&model).differs(first), "{}", uid(&model));
    // A restored backup counts its revisions anew.
    let mut restored = Model::default().at_epoch(4);
    write(&mut restored, fabric());
    assert!(uid(&restored).differs(first));
}

#[test]
fn numbers_are_stable_and_never_used_again() {
    let mut model = Model::default();
    write(&mut model, fabric());
    let rules = |model: &Model| match model.get(&name("tenants/mairie/networks/net/securityGroups/web")) {
        Some(Resource::SecurityGroup(group)) => group.rules,
        other => panic!("{other:?}"),
    };
    let before = rules(&model);
    let mut web = group("mairie", "web", vec![rule("new"), rule("http")]);
    write(&mut model, vec![web.clone().into()]);
    let after = rules(&model);
    let number = |rules: &[andromede_model::Rule], name: &str| {
        rules.iter().find(|rule| rule.name.as_str() == name).map(|rule| rule.number)
    };
    assert_eq!(number(&before, "http"), number(&after, "http"));
    web.rules.remove(0);
    write(&mut model, vec![web.clone().into()]);
    web.rules.push(rule("new"));
    write(&mut model, vec![web.into()]);
    assert!(number(&rules(&model), "new") > number(&after, "new"), "a rule that comes again is another rule");

    let index = model.host(&name("hosts/h1")).unwrap().index;
    write(&mut model, vec![host("h9", "192.0.2.9").into()]);
    let gone = model.host(&name("hosts/h9")).unwrap().index;
    let commit = model.prepare(vec![], vec![name("hosts/h9")]).unwrap();
    model.commit(&commit).unwrap();
    write(&mut model, vec![host("h9", "192.0.2.9").into(), host("h1", "192.0.2.77").into()]);
    assert!(model.host(&name("hosts/h9")).unwrap().index > gone);
    assert_eq!(model.host(&name("hosts/h1")).unwrap().index, index);
}

#[test]
fn folding_the_log_gives_the_same_model() {
    let mut model = Model::default();
    let mut log = vec![write(&mut model, fabric())];
    log.push(write(&mut model, vec![port("mairie", "c", &["10.0.0.30"], Some("h2"), &[]).into()]));
    let delete = model.prepare(vec![], vec![name("tenants/mairie/networks/net/ports/b")]).unwrap();
    assert_eq!(delete.identities_removed.len(), 1, "the set of groups that only b had is gone");
    model.commit(&delete).unwrap();
    log.push(delete);
    let mut again = Model::default();
    for commit in &log {
        again.commit(commit).unwrap();
    }
    assert_eq!(again, model);
    assert_eq!(Model::restore(&model.snapshot()).unwrap(), model);
    assert!(again.commit(&log[0]).is_err(), "a commit is not taken twice");
}

/// One bad resource beside the fabric, and the field and part of the rule that the answer names.
fn refused(resource: impl Into<Resource>, field: &str, rule: &str) {
    let mut model = Model::default();
    write(&mut model, fabric());
    let found = violations(&model, vec![resource.into()]);
    assert!(
        found.iter().any(|v| v.field == field && v.rule.contains(rule) && !v.fix.is_empty()),
        "wanted {field}: {rule}; found {found:#?}"
    );
}

#[test]
fn ports_are_checked() {
    let at = |addresses: &[&str]| port("mairie", "x", addresses, Some("h1"), &[]);
    refused(at(&["10.0.1.5"]), "resources[0].port.addresses[0]", "no subnet");
    refused(at(&["10.0.0.5", "fd00:10::a"]), "resources[0].port.addresses[1]", "belongs to one port");
    refused(at(&["10.0.0.1"]), "resources[0].port.addresses[0]", "gateway");
    refused(at(&["10.0.0.255"]), "resources[0].port.addresses[0]", "broadcast");
    refused(at(&["10.0.0.0"]), "resources[0].port.addresses[0]", "first address");
    refused(at(&["10.0.0.5", "10.0.0.5"]), "resources[0].port.addresses[1]", "once");
    refused(at(&["10.0.0.5"; 17]), "resources[0].port.addresses", "1 to 16");
    refused(port("mairie", "x", &["10.0.0.5"], Some("h77"), &[]), "resources[0].port.host", "no such host");
    refused(
        port("mairie", "x", &["10.0.0.5"], None, &["nope"]),
        "resources[0].port.security_groups[0]",
        "no such group",
    );
    let mut foreign = at(&["10.0.0.5"]);
    foreign.groups = [name("tenants/hopital/networks/net/securityGroups/web")].into();
    refused(foreign, "resources[0].port.security_groups[0]", "own network");
    let mut mac = at(&["10.0.0.5"]);
    mac.mac = "02:00:5e:00:00:01".parse().unwrap();
    refused(mac.clone(), "resources[0].port.mac", "router");
    mac.mac = "02:ad:00:00:00:03".parse().unwrap();
    refused(mac, "resources[0].port.mac", "belongs to one port");
    refused(port("nobody", "x", &["10.0.0.5"], None, &[]), "resources[0].port.name", "there is no");
}

#[test]
fn prefix_lists_and_operator_policies_are_checked() {
    refused(
        prefix_list("mairie", "l", &["10.0.0.0/8", "10.0.0.0/8"]),
        "resources[0].prefix_list.prefixes[1]",
        "stands in a list once",
    );
    let mut listed = rule("listed");
    listed.remote = Remote::PrefixList(name("tenants/mairie/networks/net/prefixLists/nope"));
    let field = "resources[0].security_group.rules[0].remote_prefix_list";
    refused(group("mairie", "g", vec![listed.clone()]), field, "no such prefix list");
    refused(group("hopital", "g", vec![listed.clone()]), field, "own network");
    let field = "resources[0].operator_policy.rules[0].remote_prefix_list";
    refused(operator_policy("o", &[], vec![listed]), field, "belong to tenants");
    refused(operator_policy("o", &["nobody"], vec![]), "resources[0].operator_policy.networks[0]", "no such network");
    let mut pass = rule("pass");
    pass.action = Action::Pass;
    refused(group("mairie", "g", vec![pass.clone()]), "resources[0].security_group.rules[0].action", "operator");
    pass.log = true;
    refused(operator_policy("o", &[], vec![pass]), "resources[0].operator_policy.rules[0].action", "neither opens");
}

#[test]
fn what_rules_and_policies_refer_to_is_not_deleted() {
    let mut model = Model::default();
    write(&mut model, fabric());
    let mut listed = rule("listed");
    listed.remote = Remote::PrefixList(name("tenants/mairie/networks/net/prefixLists/l"));
    let list = prefix_list("mairie", "l", &["10.0.0.0/8"]);
    write(&mut model, vec![list.into(), group("mairie", "g", vec![listed]).into()]);
    let refused = model.prepare(vec![], vec![name("tenants/mairie/networks/net/prefixLists/l")]).unwrap_err();
    assert!(refused[0].rule.contains("securityGroups/g refers to it"), "{refused:?}");
    let both = ["tenants/mairie/networks/net/prefixLists/l", "tenants/mairie/networks/net/securityGroups/g"];
    model.prepare(vec![], both.map(name).to_vec()).unwrap();
    write(
        &mut model,
        vec![tenant("t").into(), network("t", "net").into(), operator_policy("o", &["t"], vec![]).into()],
    );
    let refused = model.prepare(vec![], vec![name("tenants/t/networks/net")]).unwrap_err();
    assert!(refused[0].rule.contains("operatorPolicies/o refers to it"), "{refused:?}");
}

#[test]
fn networks_and_subnets_are_checked() {
    refused(subnet("mairie", "x", "10.0.0.128/25"), "resources[0].subnet.cidr", "do not overlap");
    refused(subnet("mairie", "x", "10.0.0.0/8"), "resources[0].subnet.cidr", "do not overlap");
    refused(subnet("mairie", "x", "10.9.9.8/31"), "resources[0].subnet.cidr", "at most 30");
    refused(subnet("mairie", "x", "169.254.3.0/24"), "resources[0].subnet.cidr", "reserved");
    refused(subnet("mairie", "v4", "10.0.0.0/28"), "tenants/mairie/networks/net/ports/b.addresses[0]", "no subnet");
    let mut gateway = subnet("mairie", "x", "10.3.0.0/24");
    gateway.gateway = "10.4.0.1".parse().unwrap();
    refused(gateway, "resources[0].subnet.gateway", "address of the subnet");
    let mut vni = network("mairie", "other");
    vni.vni = Vni::try_from(4096).unwrap();
    refused(vni.clone(), "resources[0].network.vni", "one network");
    vni.name = name("tenants/mairie/networks/net");
    vni.vni = Vni::try_from(5).unwrap();
    refused(vni, "resources[0].network.vni", "never changes");
    refused(network("nobody", "n"), "resources[0].network.name", "no tenants/nobody");
    let mut long = tenant("t");
    long.display_name = "x".repeat(limits::DISPLAY_NAME + 1);
    refused(long, "resources[0].tenant.display_name", "at most");
}

#[test]
fn endpoints_are_checked() {
    refused(host("x", "192.0.2.1"), "resources[0].host.underlay_address", "unique");
    refused(host("x", "224.0.0.1"), "resources[0].host.underlay_address", "reserved");
    refused(
        vtep("mairie", "x", "192.0.2.1", &["10.9.0.0/24"]),
        "resources[0].vtep.underlay_address",
        "another endpoint of the fabric has it",
    );
    refused(vtep("mairie", "x", "192.0.2.200", &["10.8.0.0/24"]), "resources[0].vtep.prefixes[0]", "one endpoint");
    refused(vtep("mairie", "x", "192.0.2.100", &["10.9.0.0/24"]), "resources[0].vtep.underlay_address", "unique");
    refused(vtep("mairie", "x", "192.0.2.200", &[]), "resources[0].vtep.prefixes", "1 to");
}

#[test]
fn rules_are_checked() {
    let with = |change: fn(&mut andromede_model::Rule)| -> SecurityGroup {
        let mut bad = rule("bad");
        change(&mut bad);
        group("mairie", "x", vec![rule("good"), bad])
    };
    let field = |field: &str| format!("resources[0].security_group.rules[1].{field}");
    refused(with(|rule| rule.name = "good".parse().unwrap()), &field("name"), "unique");
    refused(with(|rule| rule.protocol = "any".parse().unwrap()), &field("ports"), "only tcp, udp and sctp");
    refused(with(|rule| rule.icmp_type = Some(8)), &field("icmp_type"), "only icmp");
    refused(with(|rule| rule.icmp_code = Some(8)), &field("icmp_code"), "only with a type");
    let nope = || Remote::Group(name("tenants/mairie/networks/net/securityGroups/nope"));
    let mut unknown = with(|_| {});
    unknown.rules[1].remote = nope();
    refused(unknown.clone(), &field("remote_group"), "no such group");
    unknown.rules[1].remote = Remote::Group(name("tenants/hopital/networks/net/securityGroups/web"));
    refused(unknown.clone(), &field("remote_group"), "own network");
    unknown.rules[1].ports.clear();
    unknown.rules[1].protocol = "icmpv6".parse().unwrap();
    unknown.rules[1].remote = Remote::Cidr("10.0.0.0/8".parse::<Prefix>().unwrap());
    refused(unknown, &field("remote_cidr"), "family");
}

#[test]
fn what_is_used_is_not_deleted() {
    let mut model = Model::default();
    write(&mut model, fabric());
    for (gone, user) in [
        ("tenants/mairie", "tenants/mairie/networks/net"),
        ("tenants/mairie/networks/net", "tenants/mairie/networks/net/"),
        ("tenants/mairie/networks/net/securityGroups/web", "tenants/mairie/networks/net/ports/a"),
        ("tenants/mairie/networks/net/securityGroups/staff", "tenants/mairie/networks/net/"),
        ("hosts/h1", "ports/a"),
        ("hosts/nobody", "no such Host"),
    ] {
        let found = model.prepare(vec![], vec![name(gone)]).unwrap_err();
        assert!(found.iter().any(|v| v.field == "name" && v.rule.contains(user)), "{gone}: {found:#?}");
    }
    let found = model.prepare(vec![], vec![name("tenants/mairie/networks/net/subnets/v4")]).unwrap_err();
    assert!(found.iter().all(|v| v.field == "name" && v.cause == Cause::InUse), "{found:#?}");
    assert!(found.iter().any(|v| v.rule.contains("ports/a has the address 10.0.0.10")), "{found:#?}");
    let everything = model.snapshot().written.iter().map(Resource::name).collect();
    let commit = model.prepare(vec![], everything).unwrap();
    model.commit(&commit).unwrap();
    assert!(model.snapshot().written.is_empty());
}

#[test]
fn one_call_names_a_resource_once() {
    let model = Model::default();
    let found = violations(&model, vec![tenant("t").into(), tenant("t").into()]);
    assert_eq!(found[0].field, "resources[1].tenant.name");
    let many = (0..=limits::RESOURCES_PER_WRITE).map(|n| tenant(&format!("t{n}")).into()).collect();
    assert_eq!(violations(&model, many).len(), 1);
}

#[test]
fn the_rules_of_a_network_and_of_the_operator_are_bounded_together() {
    let mut model = Model::default();
    write(&mut model, fabric());
    let rules: Vec<_> = (0..limits::RULES_PER_GROUP).map(|number| rule(&format!("r{number}"))).collect();
    let groups = limits::RULES_PER_NETWORK / limits::RULES_PER_GROUP;
    let many = (0..=groups).map(|number| group("mairie", &format!("g{number}"), rules.clone()).into()).collect();
    let found = violations(&model, many);
    assert!(found.len() == 1 && found[0].rule.contains("250000 rules together"), "{found:#?}");
    let policies = limits::OPERATOR_RULES / limits::RULES_PER_GROUP;
    let many = (0..=policies).map(|number| operator_policy(&format!("o{number}"), &[], rules.clone()).into()).collect();
    let found = violations(&model, many);
    assert!(found.iter().any(|it| it.rule.contains("100000 rules together")), "{:#?}", found.first());
}

#[test]
fn a_view_holds_what_is_placed_and_deltas_lead_from_one_to_the_next() {
    let mut model = Model::default();
    write(&mut model, fabric());
    let net = name("tenants/mairie/networks/net");
    let before = model.view(&net).unwrap();
    assert_eq!(before.ports.len(), 2);
    assert_eq!(before.hosts.len(), 2);
    assert_eq!(before.vteps.len(), 1);
    write(&mut model, vec![port("mairie", "c", &["10.0.0.30"], None, &["web"]).into()]);
    assert_eq!(model.view(&net).unwrap().ports.len(), 2, "c is not placed");
    write(&mut model, vec![port("mairie", "c", &["10.0.0.30"], Some("h3"), &["web", "staff"]).into()]);
    let delete = model.prepare(vec![], vec![name("tenants/mairie/networks/net/ports/b")]).unwrap();
    model.commit(&delete).unwrap();
    let after = model.view(&net).unwrap();
    assert_eq!(model.networks_of(&name("hosts/h3")).len(), 1);
    assert_eq!(model.hosts_of(&net).len(), 2);
    let mut led = before.clone();
    led.apply(&before.delta_to(&after), after.revision);
    assert_eq!(led, after);
    assert!(after.delta_to(&after).is_empty());
}

#[test]
fn addresses_change_hands_within_one_call() {
    let mut model = Model::default();
    write(&mut model, fabric());
    let a = |addresses: &[&str]| port("mairie", "a", addresses, Some("h1"), &["web"]);
    let b = |addresses: &[&str]| port("mairie", "b", addresses, Some("h2"), &["staff"]);
    write(&mut model, vec![a(&["10.0.0.20"]).into(), b(&["10.0.0.10"]).into()]);
    // What the ports gave up is free, what they took is not.
    write(&mut model, vec![port("mairie", "c", &["fd00:10::a"], None, &[]).into()]);
    let found = violations(&model, vec![port("mairie", "d", &["10.0.0.10"], None, &[]).into()]);
    assert!(found[0].rule.contains("ports/b has it"), "{found:#?}");
    let found = violations(&model, vec![a(&["10.0.0.30"]).into(), b(&["10.0.0.30"]).into()]);
    assert_eq!(found.len(), 1, "{found:#?}");
    // And so is what a port leaves that is deleted in the same call.
    let moved = vec![port("mairie", "d", &["10.0.0.10"], None, &[]).into()];
    let commit = model.prepare(moved, vec![name("tenants/mairie/networks/net/ports/b")]).unwrap();
    model.commit(&commit).unwrap();
    assert_eq!(Model::restore(&model.snapshot()).unwrap(), model);
}

#[test]
fn a_subnet_leased_to_a_host_has_ports_of_that_host_only() {
    let leased = |host: Option<&str>| {
        let mut pods = subnet("mairie", "pods", "10.1.0.0/24");
        pods.host = host.map(|host| name(&format!("hosts/{host}")));
        Resource::from(pods)
    };
    let pod = |host: Option<&str>| Resource::from(port("mairie", "pod", &["10.1.0.9"], host, &[]));
    let mut model = Model::default();
    write(&mut model, fabric());
    assert!(violations(&model, vec![leased(Some("nowhere"))])[0].rule.contains("no such host"));
    write(&mut model, vec![leased(Some("h3"))]);
    // A host holds the network of its subnet before it holds a port.
    let network = name("tenants/mairie/networks/net");
    assert!(
        model.hosts_of(&network).contains(&name("hosts/h3")) && model.networks_of(&name("hosts/h3")).contains(&network)
    );
    assert!(model.view(&network).unwrap().hosts.contains_key(&name("hosts/h3")));
    for host in [None, Some("h1")] {
        let refused = violations(&model, vec![pod(host)]);
        assert_eq!(refused[0].field, "resources[0].port.addresses[0]");
        assert!(refused[0].rule.contains("leased to hosts/h3"), "{}", refused[0]);
    }
    write(&mut model, vec![pod(Some("h3"))]);
    // Neither can the subnet be leased to another host under its ports, nor the host be deleted.
    assert!(violations(&model, vec![leased(Some("h1"))])[0].rule.contains("leased to hosts/h1"));
    write(&mut model, vec![leased(None)]);
    write(&mut model, vec![leased(Some("h3"))]);
    let commit = model.prepare(vec![], vec![name("tenants/mairie/networks/net/ports/pod")]).unwrap();
    model.commit(&commit).unwrap();
    let refused = model.prepare(vec![], vec![name("hosts/h3")]).unwrap_err();
    assert!(refused[0].rule.contains("subnets/pods"), "{}", refused[0]);
}
