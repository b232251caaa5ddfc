//! What a tenant's users see and decide: their own, and nothing by which they could tell what else there is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_controller::access::TABLE;
use andromede_proto::{
    DESCRIPTORS,
    resource::etag,
    v1::{
        self, ApplyRequest, GetRequest, ListRequest, PlanRequest, Resource, RollbackRequest, UpdatePortRequest,
        fabric_service_client::FabricServiceClient, history_service_client::HistoryServiceClient,
        network_service_client::NetworkServiceClient, port_service_client::PortServiceClient, resource::Kind,
        zone_service_client::ZoneServiceClient,
    },
};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind as Type, MethodDescriptor, Value};
use support::{
    Controller,
    bundle::{empty_tenant, group, group_name, host, network, port, port_message, tenant},
    pki::Authority,
    raw::{call, path},
    tls::{connect_as, mutual_tls},
};
use tempfile::TempDir;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

struct Stage {
    controller: Controller,
    authority: Authority,
    /// Holds the store.
    _folder: TempDir,
}

fn prefix_list(tenant: &str) -> Resource {
    let name = format!("tenants/{tenant}/networks/n/prefixLists/l");
    Resource {
        kind: Some(Kind::PrefixList(v1::PrefixList {
            name,
            prefixes: vec!["192.0.2.0/24".to_owned()],
            ..v1::PrefixList::default()
        })),
    }
}

fn vtep(tenant: &str, last: u8) -> Resource {
    Resource {
        kind: Some(Kind::Vtep(v1::Vtep {
            name: format!("tenants/{tenant}/networks/n/vteps/v"),
            underlay_address: format!("198.51.100.{last}"),
            mac: "02:00:00:aa:bb:cc".to_owned(),
            prefixes: vec!["10.9.0.0/24".to_owned()],
            ..v1::Vtep::default()
        })),
    }
}

/// Two tenants that have the same, each with one of every kind.
async fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let controller = Controller::start(&mutual_tls(folder.path(), &authority)).await;
    let stage = Stage { controller, authority, _folder: folder };
    let operator = stage.connect("operator/o").await;
    let of = |name: &str, last| {
        [empty_tenant(name), vec![prefix_list(name), vtep(name, last), port(name, 7, Some(1))]].concat()
    };
    apply(&operator, [vec![host(1), host(2)], of("a", 1), of("b", 2)].concat()).await.unwrap();
    stage
}

impl Stage {
    async fn connect(&self, principal: &str) -> Channel {
        connect_as(&self.controller, &self.authority, principal).await
    }
}

async fn apply(channel: &Channel, resources: Vec<Resource>) -> Result<v1::ApplyResponse, Status> {
    let request = ApplyRequest { resources, ..ApplyRequest::default() };
    Ok(FabricServiceClient::new(channel.clone()).apply(request).await?.into_inner())
}

/// What a tenant's user is told, with the names of the two tenants made one: that which is there, and that which is not.
fn told(answer: Result<Vec<u8>, Status>) -> String {
    let (code, words, bytes) = match answer {
        Ok(bytes) => (Code::Ok, String::new(), bytes),
        Err(status) => (status.code(), status.message().to_owned(), status.details().to_vec()),
    };
    let text = format!("{code:?} {words} {}", String::from_utf8_lossy(&bytes));
    text.replace("tenants/b", "tenants/?").replace("tenants/z", "tenants/?")
}

/// The resource that a method of a kind is about, in a tenant.
fn name_in(kind: &str, tenant: &str) -> Option<String> {
    let inside = |rest: &str| Some(format!("tenants/{tenant}/networks/n/{rest}"));
    match kind {
        "Tenant" => Some(format!("tenants/{tenant}")),
        "Network" => Some(format!("tenants/{tenant}/networks/n")),
        "Subnet" => inside("subnets/s"),
        "Port" => inside("ports/p7"),
        "SecurityGroup" => inside("securityGroups/web"),
        "PrefixList" => inside("prefixLists/l"),
        "Vtep" => inside("vteps/v"),
        _ => None,
    }
}

fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}

/// A request of a standard method about a resource, in every form in which it can name it.
fn requests(method: &MethodDescriptor, name: &str) -> Vec<Vec<u8>> {
    let input = method.input();
    let parent = name.rsplitn(3, '/').nth(2).unwrap_or_default();
    let mut base = DynamicMessage::new(input.clone());
    for field in input.fields() {
        match (field.name(), field.kind()) {
            ("name", _) => base.set_field(&field, text(name)),
            ("parent", _) => base.set_field(&field, text(parent)),
            ("update_mask" | "rules", _) => {}
            (_, Type::Message(resource)) => {
                let mut inner = DynamicMessage::new(resource);
                inner.set_field_by_name("name", text(name));
                base.set_field(&field, Value::Message(inner));
            }
            _ => {}
        }
    }
    let mut forms = vec![base.clone()];
    for flag in ["allow_missing", "validate_only"] {
        if input.get_field_by_name(flag).is_some() {
            let mut form = base.clone();
            form.set_field_by_name(flag, Value::Bool(true));
            forms.push(form);
        }
    }
    if input.get_field_by_name("etag").is_some() {
        let mut form = base.clone();
        form.set_field_by_name("etag", text(etag(1, 1)));
        forms.push(form);
    }
    if input.get_field_by_name("page_size").is_some() {
        for (parent, filter) in [("tenants/-/networks/-", ""), (parent, "labels.x = y")] {
            let mut form = base.clone();
            form.set_field_by_name("parent", text(parent));
            form.set_field_by_name("filter", text(filter));
            forms.push(form);
        }
    }
    forms.iter().map(prost::Message::encode_to_vec).collect()
}

/// The methods that a tenant's administrator may call, with the kind that each is about.
fn standard_methods() -> Vec<(MethodDescriptor, String)> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let services = pool.services().filter(|service| service.full_name().starts_with("andromede.v1."));
    let of = |service: prost_reflect::ServiceDescriptor| {
        let kind = service.name().trim_end_matches("Service").to_owned();
        service.methods().map(move |method| (method, kind.clone())).collect::<Vec<_>>()
    };
    let own = services.flat_map(of).filter(|(method, kind)| {
        let (_, rights) = TABLE.iter().find(|(found, _)| *found == path(method)).unwrap();
        rights.extents()[2] == andromede_controller::access::Extent::Own && name_in(kind, "b").is_some()
    });
    own.collect()
}

#[tokio::test]
async fn what_belongs_to_another_tenant_is_as_if_it_were_not() {
    let stage = stage().await;
    let mut compared = 0;
    for principal in ["tenant-admin/a/t", "tenant-reader/a/r"] {
        let channel = stage.connect(principal).await;
        for (method, kind) in standard_methods() {
            let [there, missing] = ["b", "z"].map(|tenant| name_in(&kind, tenant).unwrap());
            for (there, missing) in requests(&method, &there).into_iter().zip(requests(&method, &missing)) {
                let (there, missing) =
                    (told(call(&channel, &method, there).await), told(call(&channel, &method, missing).await));
                assert_eq!(there, missing, "{principal} {}", method.full_name());
                compared += 1;
                if method.is_server_streaming() || method.name().starts_with("List") {
                    assert!(!there.contains("tenants/?"), "{principal} {}: {there}", method.full_name());
                } else {
                    assert!(!there.starts_with("Ok") || there.len() < 20, "{}: {there}", method.full_name());
                }
            }
        }
    }
    eprintln!("{compared} pairs of answers compared");
    assert!(compared > 100, "{compared}");
    stage.controller.stop().await;
}

#[tokio::test]
async fn bundles_and_references_reveal_nothing_of_others() {
    let stage = stage().await;
    let admin = stage.connect("tenant-admin/a/t").await;
    let mut fabric = FabricServiceClient::new(admin.clone());
    let referring = |other: &str| {
        let mut grouped = port_message("a", 9, None);
        grouped.security_groups = vec![group_name(other, "web")];
        let of_rule = |remote| {
            let Some(Kind::SecurityGroup(mut group)) = group("a", "g", &["80"]).kind else { unreachable!() };
            group.rules[0].remote = Some(remote);
            Resource { kind: Some(Kind::SecurityGroup(group)) }
        };
        vec![
            Resource { kind: Some(Kind::Port(grouped)) },
            of_rule(v1::rule::Remote::RemoteGroup(group_name(other, "web"))),
            of_rule(v1::rule::Remote::RemotePrefixList(format!("tenants/{other}/networks/n/prefixLists/l"))),
        ]
    };
    let whole = |other: &str| {
        vec![
            tenant(other),
            network(other),
            group(other, "web", &["80"]),
            port(other, 7, None),
            vtep(other, 9),
            prefix_list(other),
        ]
    };
    let bundles = |other: &str| referring(other).into_iter().chain(whole(other)).collect::<Vec<_>>();
    for (there, missing) in bundles("b").into_iter().zip(bundles("z")) {
        for etag in [String::new(), etag(1, 1)] {
            let [there, missing] = [&there, &missing].map(|resource| {
                let mut resource = resource.clone();
                if let Some(Kind::Port(port)) = &mut resource.kind
                    && !port.name.starts_with("tenants/a")
                {
                    port.etag.clone_from(&etag);
                }
                vec![resource]
            });
            let planned = |resources| PlanRequest { resources, ..PlanRequest::default() };
            let [one, other] = [planned(there.clone()), planned(missing.clone())];
            let one = told(fabric.plan(one).await.map(|it| it.into_inner().encode_to_vec()));
            let other = told(fabric.plan(other).await.map(|it| it.into_inner().encode_to_vec()));
            assert_eq!(one, other);
            assert!(!one.starts_with("Ok"), "{one}");
            let one = told(apply(&admin, there).await.map(|it| it.encode_to_vec()));
            let other = told(apply(&admin, missing).await.map(|it| it.encode_to_vec()));
            assert_eq!(one, other);
            assert!(!one.starts_with("Ok"), "{one}");
        }
    }
    for (there, missing) in ["b", "b/networks/n", "b/networks/n/ports/p7"]
        .map(|rest| (format!("tenants/{rest}"), format!("tenants/{}", rest.replacen('b', "z", 1))))
    {
        let delete = |name: &str| ApplyRequest { deleted: vec![name.to_owned()], ..ApplyRequest::default() };
        let one = told(fabric.apply(delete(&there)).await.map(|it| it.into_inner().encode_to_vec()));
        let other = told(fabric.apply(delete(&missing)).await.map(|it| it.into_inner().encode_to_vec()));
        assert_eq!(one, other);
        assert!(one.starts_with("NotFound"), "{one}");
    }
    for name in ["hosts/h1", "hosts/h9", "operatorPolicies/p"] {
        let request = ApplyRequest { deleted: vec![name.to_owned()], ..ApplyRequest::default() };
        assert_eq!(fabric.apply(request).await.unwrap_err().code(), Code::NotFound, "{name}");
    }
    stage.controller.stop().await;
}

#[tokio::test]
async fn history_and_plans_tell_a_tenant_its_own_part() {
    let stage = stage().await;
    let operator = stage.connect("operator/o").await;
    apply(&operator, vec![port("b", 8, Some(2))]).await.unwrap();
    let request = ApplyRequest {
        resources: vec![port("a", 9, Some(2)), port("b", 9, Some(2))],
        request_id: "change-4711-of-b".to_owned(),
        ..ApplyRequest::default()
    };
    FabricServiceClient::new(operator.clone()).apply(request).await.unwrap();
    let admin = stage.connect("tenant-admin/a/t").await;
    let mut history = HistoryServiceClient::new(admin.clone());
    let commits = history.list_commits(v1::ListCommitsRequest::default()).await.unwrap().into_inner().commits;
    let revisions: Vec<_> = commits.iter().map(|commit| (commit.revision, commit.written)).collect();
    assert_eq!(revisions, [(3, 1), (1, 7)], "the second commit was another tenant's");
    assert!(commits.iter().all(|commit| commit.request_id.is_empty()), "{commits:?}");
    assert!(commits.iter().all(|commit| commit.names.iter().all(|name| name.starts_with("tenants/a"))));
    let of_b = v1::ListCommitsRequest { name: "tenants/b".to_owned(), ..Default::default() };
    assert!(history.list_commits(of_b).await.unwrap().into_inner().commits.is_empty());
    let diff = v1::DiffRequest { from_revision: 1, to_revision: 3 };
    let changes = history.diff(diff).await.unwrap().into_inner().changes;
    assert_eq!(changes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["tenants/a/networks/n/ports/p9"]);

    // The way back is that of the tenant alone.
    let rollback = RollbackRequest { to_revision: 1, ..RollbackRequest::default() };
    let undone = history.rollback(rollback).await.unwrap().into_inner();
    assert_eq!(undone.changes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["tenants/a/networks/n/ports/p9"]);
    let theirs = GetRequest { name: "tenants/b/networks/n/ports/p9".to_owned() };
    PortServiceClient::new(operator).get_port(theirs).await.unwrap();

    let mut fabric = FabricServiceClient::new(admin);
    let request = PlanRequest { resources: vec![group("a", "web", &["22"])], ..PlanRequest::default() };
    let planned = fabric.plan(request).await.unwrap().into_inner();
    assert_eq!(planned.changes.len(), 1);
    assert!(planned.hosts.is_empty() && planned.tables.is_empty(), "{planned:?}");
    let mut watch = fabric.watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    let state = watch.message().await.unwrap().unwrap();
    assert_eq!(state.written.len(), 7, "{:?}", state.written.iter().map(Resource::name).collect::<Vec<_>>());
    let list = ListRequest { parent: "tenants/-".to_owned(), ..ListRequest::default() };
    let networks =
        NetworkServiceClient::new(stage.connect("tenant-reader/a/r").await).list_networks(list).await.unwrap();
    assert_eq!(networks.into_inner().networks.len(), 1);
    stage.controller.stop().await;
}

/// The fields that a refusal names.
fn refused_fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let told = status.get_details_bad_request().map(|it| it.field_violations).unwrap_or_default();
    told.into_iter().map(|it| it.field).collect()
}

#[tokio::test]
async fn an_administrator_decides_what_is_the_tenants_and_the_operator_the_rest() {
    let stage = stage().await;
    let admin = stage.connect("tenant-admin/a/t").await;
    let port = |change: &dyn Fn(&mut v1::Port)| {
        let mut port = port_message("a", 7, None);
        change(&mut port);
        Resource { kind: Some(Kind::Port(port)) }
    };
    // Its own bundle again, with new rules and without what the operator decided: that stays.
    let own = vec![
        tenant("a"),
        network("a"),
        group("a", "web", &["443"]),
        port(&|it| it.security_groups = vec![group_name("a", "web")]),
    ];
    apply(&admin, own).await.unwrap();
    let name = "tenants/a/networks/n/ports/p7".to_owned();
    let mut ports = PortServiceClient::new(admin.clone());
    let found = ports.get_port(GetRequest { name: name.clone() }).await.unwrap().into_inner();
    assert_eq!((found.host.as_str(), found.security_groups.len()), ("hosts/h1", 1));
    // As it was read, it may be written back.
    let update = UpdatePortRequest { port: Some(found.clone()), ..UpdatePortRequest::default() };
    ports.update_port(update).await.unwrap();

    let limits = v1::PortLimits { flows_inbound: 9, ..v1::PortLimits::default() };
    let with_vni = v1::Network { name: "tenants/a/networks/m".to_owned(), vni: 77, ..v1::Network::default() };
    let named = v1::Tenant { name: "tenants/a".to_owned(), display_name: "mine".to_owned(), ..v1::Tenant::default() };
    let anywhere = v1::Residency { jurisdictions: vec!["DE".to_owned()], ..v1::Residency::default() };
    let free = v1::Tenant { name: "tenants/a".to_owned(), residency: Some(anywhere), ..v1::Tenant::default() };
    let cases = [
        (Resource { kind: Some(Kind::Tenant(free)) }, "resources[0].tenant.name"),
        (port(&|it| it.host = "hosts/h2".to_owned()), "resources[0].port.host"),
        (port(&|it| it.host = "hosts/h9".to_owned()), "resources[0].port.host"),
        (port(&|it| it.limits = Some(limits)), "resources[0].port.limits"),
        (Resource { kind: Some(Kind::Network(with_vni)) }, "resources[0].network.vni"),
        (Resource { kind: Some(Kind::Tenant(named)) }, "resources[0].tenant.name"),
        (support::bundle::leased_subnet("a", "s2", "10.0.2.0/24", "hosts/h1"), "resources[0].subnet.host"),
        (vtep("a", 9), "resources[0].vtep.name"),
    ];
    for (resource, field) in cases {
        let status = apply(&admin, vec![resource]).await.unwrap_err();
        assert_eq!(refused_fields(&status), [field], "{status}");
    }
    let update =
        UpdatePortRequest { port: Some(v1::Port { host: "hosts/h2".to_owned(), ..found }), ..Default::default() };
    assert_eq!(refused_fields(&ports.update_port(update).await.unwrap_err()), ["port.host"]);
    for name in ["tenants/a", "tenants/a/networks/n/vteps/v"] {
        let request = ApplyRequest { deleted: vec![name.to_owned()], ..ApplyRequest::default() };
        let status = FabricServiceClient::new(admin.clone()).apply(request).await.unwrap_err();
        assert_eq!(refused_fields(&status), ["deleted[0]"]);
    }
    // What is its own it may also delete, wherever the operator placed it.
    ports.delete_port(v1::DeleteRequest { name, ..v1::DeleteRequest::default() }).await.unwrap();
    stage.controller.stop().await;
}

#[tokio::test]
async fn a_tenant_chooses_among_zones_and_makes_none() {
    let stage = stage().await;
    let admin = stage.connect("tenant-admin/a/t").await;
    // It may bind a network of its own more closely, and sees the zones to choose from; it makes none.
    let zone = v1::Zone {
        name: "zones/par1".to_owned(),
        jurisdiction: "FR".into(),
        operator: "o".into(),
        ..v1::Zone::default()
    };
    let zone = Resource { kind: Some(Kind::Zone(zone)) };
    apply(&stage.connect("operator/o").await, vec![zone.clone()]).await.unwrap();
    let own = v1::Residency { zones: vec!["zones/par1".to_owned()], ..v1::Residency::default() };
    let network =
        v1::Network { name: "tenants/a/networks/m".to_owned(), residency: Some(own), ..v1::Network::default() };
    apply(&admin, vec![Resource { kind: Some(Kind::Network(network)) }]).await.unwrap();
    let mut zones = ZoneServiceClient::new(admin.clone());
    assert_eq!(zones.list_zones(ListRequest::default()).await.unwrap().into_inner().zones.len(), 1);
    assert_eq!(apply(&admin, vec![zone]).await.unwrap_err().code(), Code::NotFound);
    stage.controller.stop().await;
}
