//! Get, List and Delete of every kind of resource: one service each, all alike.

use std::sync::Arc;

use andromede_model::{
    AnyName, HostName, NetworkName, OperatorPolicyName, PortName, PrefixListName, Resource, ResourceKind,
    SecurityGroupName, SubnetName, TenantName, VtepName,
};
use andromede_proto::v1;
use tonic::{Request, Response, Status};

use super::{name, pages::page};
use crate::{
    access::{Principal, caller},
    errors,
    publish::Publisher,
    writer::{WriteError, Writer},
};

/// Reads from the published model; deletes through the writer.
#[derive(Clone, Debug)]
pub struct Resources {
    publisher: Arc<Publisher>,
    writer: Writer,
}

impl Resources {
    /// The services over this state.
    pub fn new(publisher: Arc<Publisher>, writer: Writer) -> Self {
        Self { publisher, writer }
    }

    fn get(&self, name: &AnyName) -> Result<Resource, Status> {
        self.publisher.model().get(name).ok_or_else(|| errors::not_found(name.as_str()))
    }

    async fn delete(&self, principal: Principal, name: AnyName) -> Result<Response<v1::WriteResponse>, Status> {
        let written = self.writer.write(principal, Vec::new(), vec![name], false).await;
        let written = written.map_err(|error| match error {
            WriteError::Invalid(violations) => errors::precondition(&violations),
            other => other.into(),
        })?;
        Ok(Response::new(v1::WriteResponse { revision: written.revision }))
    }
}

/// A service for each kind: its module, trait, kind, name type, methods, response and field of the response.
macro_rules! services {
    ($($module:ident $service:ident $kind:ident $name:ident $get:ident $list:ident $delete:ident $response:ident $field:ident;)*) => { $(
        #[tonic::async_trait]
        impl v1::$module::$service for Resources {
            async fn $get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::$kind>, Status> {
                let name = name::<$name>("name", &request.get_ref().name)?;
                match self.get(&name.into())? {
                    Resource::$kind(found) => Ok(Response::new(found.into())),
                    other => Err(errors::not_found(other.name().as_str())),
                }
            }

            async fn $list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::$response>, Status> {
                let (page, next_page_token) = page(&self.publisher.model(), ResourceKind::$kind, request.get_ref())?;
                let of_kind = |resource| match resource {
                    Resource::$kind(found) => Some(found.into()),
                    _ => None,
                };
                let $field = page.into_iter().filter_map(of_kind).collect();
                Ok(Response::new(v1::$response { $field, next_page_token }))
            }

            async fn $delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
                let principal = caller(&request)?;
                let name = name::<$name>("name", &request.get_ref().name)?;
                self.delete(principal, name.into()).await
            }
        }
    )* };
}

services! {
    tenant_service_server TenantService Tenant TenantName get_tenant list_tenants delete_tenant ListTenantsResponse tenants;
    network_service_server NetworkService Network NetworkName get_network list_networks delete_network ListNetworksResponse networks;
    subnet_service_server SubnetService Subnet SubnetName get_subnet list_subnets delete_subnet ListSubnetsResponse subnets;
    port_service_server PortService Port PortName get_port list_ports delete_port ListPortsResponse ports;
    security_group_service_server SecurityGroupService SecurityGroup SecurityGroupName
        get_security_group list_security_groups delete_security_group ListSecurityGroupsResponse security_groups;
    host_service_server HostService Host HostName get_host list_hosts delete_host ListHostsResponse hosts;
    prefix_list_service_server PrefixListService PrefixList PrefixListName
        get_prefix_list list_prefix_lists delete_prefix_list ListPrefixListsResponse prefix_lists;
    operator_policy_service_server OperatorPolicyService OperatorPolicy OperatorPolicyName
        get_operator_policy list_operator_policies delete_operator_policy ListOperatorPoliciesResponse operator_policies;
    vtep_service_server VtepService Vtep VtepName get_vtep list_vteps delete_vtep ListVtepsResponse vteps;
}
