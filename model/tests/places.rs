//! Place is law: nothing stands where its tenant or its network does not let it be, whatever is written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use andromede_model::{
    Admitted, AnyName, Cause, Host, Model, Network, Port, Residency, Resource, Tenant, Violation, Vtep, Zone, limits,
};
use common::{host, name, network, port, residency, subnet, tenant, vtep, write, zone};

/// Zones in France and Germany of one operator and in France of another, a host in each, and one in none.
fn fabric() -> Model {
    let mut model = Model::default();
    let mut all: Vec<Resource> = vec![
        zone("par1", "FR", "nuage").into(),
        zone("fra1", "DE", "nuage").into(),
        zone("par2", "FR", "cloud").into(),
        tenant("mairie").into(),
        network("mairie", "net").into(),
        subnet("mairie", "s", "10.0.0.0/24").into(),
    ];
    all.extend(
        [("h1", 1, "par1"), ("h2", 2, "fra1"), ("h3", 3, "par2")]
            .map(|(id, last, zone)| in_zone(id, last, zone).into()),
    );
    all.push(host("h4", "192.0.2.4").into());
    write(&mut model, all);
    model
}

fn in_zone(id: &str, last: u8, zone: &str) -> Host {
    Host { zone: Some(name(&format!("zones/{zone}"))), ..host(id, &format!("192.0.2.{last}")) }
}

fn bound(jurisdictions: &[&str], zones: &[&str]) -> Tenant {
    Tenant { residency: residency(jurisdictions, zones), ..tenant("mairie") }
}

fn narrow(residency: Residency) -> Network {
    Network { residency, ..network("mairie", "net") }
}

fn on(id: &str, last: u8, host: &str) -> Port {
    port("mairie", id, &[&format!("10.0.0.{last}")], Some(host), &[])
}

/// What is wrong with a write: field, value, rule, and whether something that is there is in its way.
fn refused(model: &Model, written: Vec<Resource>) -> Vec<Violation> {
    model.prepare(written, vec![]).expect_err("it breaks a law")
}

fn fields(violations: &[Violation]) -> Vec<(&str, Cause)> {
    violations.iter().map(|violation| (violation.field.as_str(), violation.cause)).collect()
}

#[test]
fn what_is_placed_outside_is_refused_by_its_own_field() {
    let mut model = fabric();
    write(
        &mut model,
        vec![
            bound(&["FR"], &[]).into(),
            narrow(Residency { operators: [name("nuage")].into(), ..residency(&[], &[]) }).into(),
        ],
    );
    write(&mut model, vec![on("a", 10, "h1").into()]);
    for (host, place) in [("h2", "DE"), ("h3", "cloud"), ("h4", "no zone")] {
        for port in [on("b", 11, host), on("a", 10, host)] {
            let wrong = refused(&model, vec![port.into()]);
            assert_eq!(fields(&wrong), [("resources[0].port.host", Cause::Value)], "{host}");
            assert_eq!(wrong[0].value, format!("hosts/{host}"));
            assert!(
                wrong[0].rule.contains("jurisdiction FR, operator nuage") && wrong[0].rule.contains(place),
                "{wrong:?}"
            );
        }
        let mut leased = subnet("mairie", "pods", "10.1.0.0/24");
        leased.host = Some(name(&format!("hosts/{host}")));
        assert_eq!(fields(&refused(&model, vec![leased.into()])), [("resources[0].subnet.host", Cause::Value)]);
    }
    let foreign = vtep("mairie", "v", "192.0.2.99", &["10.9.0.0/16"]);
    assert_eq!(fields(&refused(&model, vec![foreign.clone().into()])), [("resources[0].vtep.zone", Cause::Value)]);
    write(&mut model, vec![Vtep { zone: Some(name("zones/par1")), ..foreign }.into()]);
    // A host that comes with its port, and one that moves with it.
    let both = vec![in_zone("h5", 5, "fra1").into(), on("b", 11, "h5").into()];
    assert_eq!(fields(&refused(&model, both)), [("resources[1].port.host", Cause::Value)]);
    write(&mut model, vec![in_zone("h2", 2, "par1").into(), on("b", 11, "h2").into()]);
}

#[test]
fn a_change_around_what_is_there_is_refused_and_names_it() {
    let mut model = fabric();
    write(&mut model, vec![bound(&["FR"], &[]).into(), on("a", 10, "h1").into(), on("b", 11, "h3").into()]);
    let port: AnyName = name("tenants/mairie/networks/net/ports/a");
    let cases: [(Resource, &str); 6] = [
        (in_zone("h1", 1, "fra1").into(), "resources[0].host.zone"),
        (host("h1", "192.0.2.1").into(), "resources[0].host.zone"),
        (zone("par1", "DE", "nuage").into(), "resources[0].zone.jurisdiction"),
        (bound(&["DE"], &[]).into(), "resources[0].tenant.residency"),
        (bound(&["FR"], &["par2"]).into(), "resources[0].tenant.residency"),
        (narrow(residency(&[], &["par2"])).into(), "resources[0].network.residency"),
    ];
    for (resource, field) in cases {
        let wrong = refused(&model, vec![resource]);
        assert_eq!(fields(&wrong), [(field, Cause::InUse)]);
        assert_eq!(wrong[0].value, port.to_string());
        assert!(wrong[0].rule.contains("hosts/h1 is in"), "{wrong:?}");
    }
    let two = refused(&model, vec![bound(&["DE"], &[]).into()]);
    assert!(two[0].rule.ends_with("(and 1 more)"), "{two:?}");
    let of_operator = narrow(Residency { operators: [name("nuage")].into(), ..residency(&[], &[]) });
    let elsewhere = vec![on("b", 11, "h1").into(), of_operator.into()];
    write(&mut model, elsewhere);
    let wrong = refused(&model, vec![zone("par1", "FR", "cloud").into()]);
    assert_eq!(fields(&wrong), [("resources[0].zone.operator", Cause::InUse)]);
    // What stands nowhere, and who stands elsewhere, may change.
    write(&mut model, vec![in_zone("h3", 3, "fra1").into(), zone("par2", "DE", "cloud").into()]);
    // Law and place change together.
    let together = vec![on("a", 10, "h2").into(), on("b", 11, "h2").into(), bound(&["DE"], &[]).into()];
    write(&mut model, together);
}

#[test]
fn a_network_only_narrows_what_its_tenant_lets() {
    let mut model = fabric();
    write(&mut model, vec![bound(&["FR"], &[]).into()]);
    let wrong = refused(&model, vec![narrow(residency(&["DE", "FR"], &[])).into()]);
    assert_eq!(fields(&wrong), [("resources[0].network.residency.jurisdictions", Cause::Value)]);
    assert_eq!(wrong[0].value, "DE");
    write(&mut model, vec![narrow(residency(&["FR"], &["par1"])).into()]);
    let wrong = refused(&model, vec![bound(&["DE"], &[]).into()]);
    assert!(fields(&wrong).contains(&("resources[0].tenant.residency.jurisdictions", Cause::InUse)), "{wrong:?}");
    assert_eq!(model.zones_of(&name("tenants/mairie/networks/net")), Admitted::Zones([2].into()));
    let unknown =
        refused(&model, vec![narrow(residency(&[], &["nowhere"])).into(), in_zone("h9", 9, "nowhere").into()]);
    let of_unknown =
        [("resources[0].network.residency.zones[0]", Cause::Value), ("resources[1].host.zone", Cause::Value)];
    assert_eq!(fields(&unknown), of_unknown);
}

#[test]
fn zones_have_numbers_that_are_few_and_stay() {
    let mut model = fabric();
    let index = |model: &Model, id: &str| model.zone(&name(&format!("zones/{id}"))).unwrap().index;
    let before = ["fra1", "par1", "par2"].map(|id| index(&model, id));
    assert_eq!(before, [1, 2, 3]);
    assert_eq!(model.host(&name("hosts/h2")).unwrap().zone_index, 1);
    let wrong = model.prepare(vec![], vec![name("zones/fra1")]).unwrap_err();
    assert!(wrong[0].rule.contains("hosts/h2 refers to it") && wrong[0].cause == Cause::InUse, "{wrong:?}");
    write(&mut model, vec![host("h2", "192.0.2.2").into(), bound(&[], &["fra1"]).into()]);
    let wrong = model.prepare(vec![], vec![name("zones/fra1")]).unwrap_err();
    assert!(wrong[0].rule.contains("tenants/mairie refers to it"), "{wrong:?}");
    write(&mut model, vec![tenant("mairie").into()]);
    let gone = model.prepare(vec![], vec![name("zones/fra1")]).unwrap();
    model.commit(&gone).unwrap();
    let many = (0..limits::ZONES - 2).map(|number| zone(&format!("z{number}"), "FR", "o").into()).collect();
    write(&mut model, many);
    assert_eq!([index(&model, "par1"), index(&model, "par2")], [2, 3], "a number stays");
    let numbers: std::collections::BTreeSet<u32> = zones(&model).map(|zone| zone.index).collect();
    assert!(numbers.into_iter().eq(1..=127));
    assert_eq!(
        fields(&refused(&model, vec![zone("more", "FR", "o").into()])),
        [("resources[0].zone.name", Cause::Value)]
    );
}

fn zones(model: &Model) -> impl Iterator<Item = Zone> {
    model.all(andromede_model::ResourceKind::Zone).filter_map(|resource| match resource {
        Resource::Zone(zone) => Some(zone),
        _ => None,
    })
}

#[test]
fn an_agent_is_told_the_zones_that_are_admitted() {
    let mut model = fabric();
    let net = name("tenants/mairie/networks/net");
    write(&mut model, vec![on("a", 10, "h1").into()]);
    let free = model.view(&net).unwrap();
    assert_eq!(free.zones, Admitted::Anywhere);
    write(&mut model, vec![bound(&["FR"], &[]).into()]);
    let law = model.view(&net).unwrap();
    assert_eq!(law.zones, Admitted::Zones([2, 3].into()));
    // A zone that comes under the law is one more.
    write(&mut model, vec![zone("lyo1", "FR", "nuage").into()]);
    let more = model.view(&net).unwrap();
    assert_eq!(more.zones, Admitted::Zones([2, 3, 4].into()));
    let mut told = free.clone();
    told.apply(&free.delta_to(&law), law.revision);
    told.apply(&law.delta_to(&more), more.revision);
    assert_eq!(told, more);
    assert!(model.admits(&net, model.host(&name("hosts/h1")).unwrap()));
    assert!(!model.admits(&net, model.host(&name("hosts/h2")).unwrap()));
}
