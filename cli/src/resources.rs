//! Get and list, for a kind that is known only when the program runs.

use andromede_proto::v1::{
    GetRequest, ListRequest, Resource, host_service_client::HostServiceClient,
    network_service_client::NetworkServiceClient, operator_policy_service_client::OperatorPolicyServiceClient,
    port_service_client::PortServiceClient, prefix_list_service_client::PrefixListServiceClient, resource,
    security_group_service_client::SecurityGroupServiceClient, subnet_service_client::SubnetServiceClient,
    tenant_service_client::TenantServiceClient, vtep_service_client::VtepServiceClient,
    zone_service_client::ZoneServiceClient,
};
use tonic::Status;

use crate::{connection::Channel, kind::Kind};

/// Resources asked for in one call: the most that the server gives.
const PAGE: u32 = 1000;

/// Calls the service of each kind: client, its get and list, and the list in the answer.
macro_rules! services {
    ($($kind:ident $client:ident $get:ident $list:ident $items:ident;)*) => {
        async fn get_kind(channel: Channel, kind: Kind, request: GetRequest) -> Result<Resource, Status> {
            let kind = match kind {
                $(Kind::$kind => resource::Kind::$kind($client::new(channel).$get(request).await?.into_inner()),)*
            };
            Ok(Resource { kind: Some(kind) })
        }

        async fn list_page(channel: Channel, kind: Kind, request: ListRequest) -> Result<Page, Status> {
            match kind {
                $(Kind::$kind => {
                    let mut client = $client::new(channel).max_decoding_message_size(MAX_ANSWER);
                    let answer = client.$list(request).await?.into_inner();
                    let items = answer.$items.into_iter().map(|it| Resource { kind: Some(resource::Kind::$kind(it)) });
                    Ok((items.collect(), answer.next_page_token))
                })*
            }
        }
    };
}

/// Some resources, and the token of the next page; empty: that was all.
type Page = (Vec<Resource>, String);

/// Most bytes of an answer: a page of groups with many rules is larger than tonic's default of 4 MiB.
pub(crate) const MAX_ANSWER: usize = 256 << 20;

services! {
    Zone ZoneServiceClient get_zone list_zones zones;
    Tenant TenantServiceClient get_tenant list_tenants tenants;
    Network NetworkServiceClient get_network list_networks networks;
    Subnet SubnetServiceClient get_subnet list_subnets subnets;
    SecurityGroup SecurityGroupServiceClient
        get_security_group list_security_groups security_groups;
    PrefixList PrefixListServiceClient get_prefix_list list_prefix_lists prefix_lists;
    OperatorPolicy OperatorPolicyServiceClient
        get_operator_policy list_operator_policies operator_policies;
    Vtep VtepServiceClient get_vtep list_vteps vteps;
    Host HostServiceClient get_host list_hosts hosts;
    Port PortServiceClient get_port list_ports ports;
}

/// The resource with this name.
pub(crate) async fn get(channel: &Channel, kind: Kind, name: &str) -> Result<Resource, Status> {
    get_kind(channel.clone(), kind, GetRequest { name: name.to_owned() }).await
}

/// All resources of a kind below a parent; "" is every parent.
pub(crate) async fn list(channel: &Channel, kind: Kind, parent: &str) -> Result<Vec<Resource>, Status> {
    let mut found = Vec::new();
    let mut request = ListRequest { parent: parent.to_owned(), page_size: PAGE, ..ListRequest::default() };
    loop {
        let (mut items, next) = list_page(channel.clone(), kind, request.clone()).await?;
        found.append(&mut items);
        // A server that repeats itself would keep us here for ever.
        if next.is_empty() || next == request.page_token {
            return Ok(found);
        }
        request.page_token = next;
    }
}
