//! The standard methods of every kind of resource (google.aip.dev/130): one service each, all alike.

use std::sync::Arc;

use andromede_model::{
    AnyName, Cause, HostName, Model, NetworkName, OperatorPolicyName, PortName, PrefixListName, Resource, ResourceKind,
    SecurityGroupName, SubnetName, TenantName, Violation, VtepName, ZoneName,
};
use andromede_proto::{mask, v1};
use prost_types::FieldMask;
use tonic::{Request, Response, Status};

use super::{
    broken,
    edit::Edit,
    fabric::applied,
    history::aside,
    name,
    pages::page,
    requests::{condition, identified, name_for, of_one, read},
    watch::{Scope, WatchStream, Watches},
};
use crate::{
    access::{Caller, Views, caller},
    change::{Change, Condition, WriteError, Written},
    clock::now_nanos,
    errors, fence,
    requests::Request as Identified,
    utilization::Utilizations,
    writer::Writer,
};

/// How often an update is tried again because others changed the resource meanwhile.
const TRIES: usize = 8;

/// Reads from the published model; writes through the writer.
#[derive(Clone, Debug)]
pub struct Resources {
    views: Views,
    writer: Writer,
    watches: Watches,
    utilizations: Arc<Utilizations>,
}

/// Who calls which method, and by what the request is known if it is repeated.
struct Call {
    caller: Caller,
    method: &'static str,
    request: Option<Identified>,
    validate_only: bool,
    /// All arguments, encoded.
    arguments: Vec<u8>,
}

impl Call {
    fn new<M: prost::Message>(
        request: &Request<M>,
        method: &'static str,
        request_id: &str,
        validate_only: bool,
    ) -> Result<Self, Status> {
        let arguments = request.get_ref().encode_to_vec();
        let identified = identified(request_id, method, &arguments)?;
        Ok(Self { caller: caller(request)?, method, request: identified, validate_only, arguments })
    }

    fn change(&self) -> Change {
        Change {
            request: self.request.clone(),
            validate_only: self.validate_only,
            ..Change::new(self.caller.principal.clone(), self.method)
        }
    }
}

impl Resources {
    /// The services over this state.
    pub fn new(views: Views, writer: Writer, watches: Watches, utilizations: Arc<Utilizations>) -> Self {
        Self { views, writer, watches, utilizations }
    }

    fn get(&self, caller: &Caller, name: &AnyName) -> Result<v1::Resource, Status> {
        let found = self.views.model(caller).get(name).ok_or_else(|| errors::not_found(name.as_str()))?;
        Ok(v1::Resource::from(found).with_etag(self.views.epoch()))
    }

    /// A resource as callers are shown it.
    fn shown(&self, resource: Option<Resource>) -> Result<v1::Resource, Status> {
        let resource =
            resource.ok_or_else(|| Status::internal("the answer has no resource; report it with the request"))?;
        Ok(v1::Resource::from(resource).with_etag(self.views.epoch()))
    }

    /// The answer that a repeated request got the first time.
    fn repeated(&self, call: &Call) -> Result<Option<Written>, Status> {
        if call.validate_only {
            return Ok(None);
        }
        Ok(self.writer.repeated(&call.caller.principal, call.request.as_ref())?)
    }

    async fn create(
        &self,
        call: Call,
        kind: ResourceKind,
        parent: &str,
        id: &str,
        message: Option<v1::Resource>,
    ) -> Result<v1::Resource, Status> {
        if let Some(written) = self.repeated(&call)? {
            return self.shown(written.resource);
        }
        let mut message = message.ok_or_else(|| missing(kind))?;
        let seed = [&call.arguments[..], call.caller.principal.name.as_bytes(), &now_nanos().to_le_bytes()].concat();
        message.set_name(name_for(kind, parent, id, message.name(), &seed)?);
        let resource = read(message)?;
        let conditions = vec![(resource.name(), Condition::Absent)];
        let change = Change { written: vec![resource], conditions, ..call.change() };
        self.shown(self.writer.write(change).await.map_err(of_one)?.resource)
    }

    async fn update(
        &self,
        call: Call,
        kind: ResourceKind,
        message: Option<v1::Resource>,
        mask: Option<&FieldMask>,
        allow_missing: bool,
    ) -> Result<v1::Resource, Status> {
        if let Some(written) = self.repeated(&call)? {
            return self.shown(written.resource);
        }
        let message = message.ok_or_else(|| missing(kind))?;
        let name = name::<AnyName>(&format!("{}.name", kind.field()), message.name())?;
        let wanted = condition(&name, message.etag(), self.views.epoch())?;
        for _ in 0..TRIES {
            let current = self.views.model(&call.caller).get(&name);
            let (merged, found) = match &current {
                None if allow_missing && wanted.is_none() => (message.clone(), Condition::Absent),
                None => return Err(errors::not_found(name.as_str())),
                Some(current) => {
                    let merged = mask::update(&current.clone().into(), &message, mask);
                    let merged = merged.map_err(|violations| errors::invalid(&violations))?;
                    (merged, Condition::At(current.revision()))
                }
            };
            let mut conditions = vec![(name.clone(), found)];
            conditions.extend(wanted.clone());
            let change = Change { written: vec![read(merged)?], conditions, ..call.change() };
            match self.writer.write(change).await {
                // Somebody else was quicker: the fields that the mask does not name are theirs.
                Err(WriteError::Changed { .. } | WriteError::AlreadyExists(_)) if wanted.is_none() => {}
                written => return self.shown(written.map_err(of_one)?.resource),
            }
        }
        Err(WriteError::Changed { etag: String::new(), name }.into())
    }

    async fn delete(
        &self,
        call: Call,
        name: AnyName,
        etag: &str,
        allow_missing: bool,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let conditions = condition(&name, etag, self.views.epoch())?.into_iter().collect();
        let change = Change { deleted: vec![name], conditions, allow_missing, ..call.change() };
        let revision = self.writer.write(change).await?.revision;
        Ok(Response::new(v1::WriteResponse { revision }))
    }

    /// Changes some rules of a group; what others change meanwhile stays, unless an etag forbids it.
    async fn edit_rules(&self, call: Call, request: &v1::EditRulesRequest) -> Result<v1::EditRulesResponse, Status> {
        let edit = Edit::read(request)?;
        let answer = |written: Written| {
            let group = self.shown(written.resource)?.try_into();
            let group = group.map_err(|other: v1::Resource| errors::not_found(other.name()))?;
            Ok(edit.answer(written.revision, group))
        };
        if let Some(written) = self.repeated(&call)? {
            return answer(written);
        }
        let name = name::<SecurityGroupName>("name", &request.name)?;
        let wanted = condition(&name.clone().into(), &request.etag, self.views.epoch())?;
        for _ in 0..TRIES {
            let model = self.views.model(&call.caller);
            let group = model.security_group(&name).ok_or_else(|| errors::not_found(name.as_str()))?;
            let mut conditions = vec![(name.clone().into(), Condition::At(group.revision))];
            conditions.extend(wanted.clone());
            let group = edit.of(group.clone())?;
            let change = Change { written: vec![group.clone().into()], conditions, ..call.change() };
            match self.writer.write(change).await {
                Err(WriteError::Changed { .. }) if wanted.is_none() => {}
                written => return answer(written.map_err(|error| edit.blame(&group, error))?),
            }
        }
        Err(WriteError::Changed { etag: String::new(), name: name.into() }.into())
    }

    /// Deletes a host with what is on it. What that is may change until the write is made: then it is looked at again.
    async fn remove_host(&self, call: Call, request: &v1::RemoveHostRequest) -> Result<v1::ApplyResponse, Status> {
        if let Some(written) = self.repeated(&call)? {
            return Ok(applied(written));
        }
        let host = name::<HostName>("name", &request.name)?;
        let wanted = condition(&host.clone().into(), &request.etag, self.views.epoch())?;
        for _ in 0..TRIES {
            let model = self.views.model(&call.caller);
            let found = model.host(&host).ok_or_else(|| errors::not_found(host.as_str()))?;
            let mut change = call.change();
            if request.release {
                fence::release(&model, &host, &mut change);
                let empty = change.written.is_empty() && change.deleted.is_empty();
                if !(empty || found.is_fenced()) {
                    let rule = "what is on a host is taken off once it was fenced";
                    let fix = "fence it, and wait until that is in force";
                    return Err(errors::invalid(&[Violation::new("name", &host, rule, fix).of(Cause::InUse)]));
                }
            }
            change.deleted.push(host.clone().into());
            change.conditions.extend(wanted.clone());
            match self.writer.write(change).await {
                Err(WriteError::Changed { .. }) if wanted.is_none() => {}
                written => return Ok(applied(written?)),
            }
        }
        Err(WriteError::Changed { etag: String::new(), name: host.into() }.into())
    }

    fn watch(&self, kind: ResourceKind, request: &Request<v1::WatchRequest>) -> Result<Response<WatchStream>, Status> {
        let caller = caller(request)?;
        let v1::WatchRequest { after_revision, parent } = request.get_ref();
        Ok(Response::new(self.watches.watch(Scope::kind(caller, kind, parent)?, *after_revision)?))
    }
}

/// The kind that the method is about; a resource of another kind cannot come here.
fn typed<T: TryFrom<v1::Resource, Error = v1::Resource>>(resource: v1::Resource) -> Result<Response<T>, Status> {
    resource.try_into().map(Response::new).map_err(|other: v1::Resource| errors::not_found(other.name()))
}

fn missing(kind: ResourceKind) -> Status {
    broken(kind.field(), "", "the field must be given", "give the resource")
}

/// One page of subnets, each with how full it is.
fn list_utilization(
    utilizations: &Utilizations,
    model: &Model,
    request: &v1::ListRequest,
) -> Result<v1::ListUtilizationResponse, Status> {
    let (page, next_page_token) = page(model, ResourceKind::Subnet, request)?;
    let names = page.iter().filter_map(|it| if let Resource::Subnet(subnet) = it { Some(&subnet.name) } else { None });
    let subnets = utilizations.of(model, names).iter().map(Into::into).collect();
    Ok(v1::ListUtilizationResponse { subnets, next_page_token })
}

/// A service for each kind: its module, trait, kind and name type, what its resources are called, the field of its parent if it
/// has one, then its methods, and those that no other kind has.
macro_rules! services {
    ($($module:ident $service:ident $kind:ident $name:ident $one:ident $many:ident [$($parent:ident)?]
        $create:ident $create_request:ident $id:ident $get:ident $list:ident $list_response:ident
        $update:ident $update_request:ident $delete:ident $watch:ident $stream:ident $({ $($more:tt)* })?;)*) => { $(
        #[tonic::async_trait]
        impl v1::$module::$service for Resources {
            type $stream = WatchStream;

            async fn $create(&self, request: Request<v1::$create_request>) -> Result<Response<v1::$kind>, Status> {
                let asked = request.get_ref();
                let call = Call::new(&request, stringify!($create), &asked.request_id, asked.validate_only)?;
                let v1::$create_request { $id: id, $one: resource, $($parent,)? .. } = request.into_inner();
                let parent: &[String] = &[$($parent)?];
                let parent = parent.first().map(String::as_str).unwrap_or_default();
                typed(self.create(call, ResourceKind::$kind, parent, &id, resource.map(Into::into)).await?)
            }

            async fn $get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::$kind>, Status> {
                let name = name::<$name>("name", &request.get_ref().name)?;
                typed(self.get(&caller(&request)?, &name.into())?)
            }

            async fn $list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::$list_response>, Status> {
                let model = self.views.model(&caller(&request)?);
                let (page, next_page_token) = page(&model, ResourceKind::$kind, request.get_ref())?;
                let epoch = model.epoch();
                let shown = page.into_iter().filter_map(|it| v1::Resource::from(it).with_etag(epoch).try_into().ok());
                Ok(Response::new(v1::$list_response { $many: shown.collect(), next_page_token }))
            }

            async fn $update(&self, request: Request<v1::$update_request>) -> Result<Response<v1::$kind>, Status> {
                let asked = request.get_ref();
                let call = Call::new(&request, stringify!($update), &asked.request_id, asked.validate_only)?;
                let v1::$update_request { $one: resource, update_mask, allow_missing, .. } = request.into_inner();
                let resource = resource.map(Into::into);
                typed(self.update(call, ResourceKind::$kind, resource, update_mask.as_ref(), allow_missing).await?)
            }

            async fn $delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
                let asked = request.get_ref();
                let call = Call::new(&request, stringify!($delete), &asked.request_id, asked.validate_only)?;
                let name = name::<$name>("name", &asked.name)?;
                self.delete(call, name.into(), &asked.etag, asked.allow_missing).await
            }

            async fn $watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<WatchStream>, Status> {
                self.watch(ResourceKind::$kind, &request)
            }

            $($($more)*)?
        }
    )* };
}

services! {
    tenant_service_server TenantService Tenant TenantName tenant tenants []
        create_tenant CreateTenantRequest tenant_id get_tenant list_tenants ListTenantsResponse
        update_tenant UpdateTenantRequest delete_tenant watch_tenants WatchTenantsStream;
    network_service_server NetworkService Network NetworkName network networks [parent]
        create_network CreateNetworkRequest network_id get_network list_networks ListNetworksResponse
        update_network UpdateNetworkRequest delete_network watch_networks WatchNetworksStream;
    subnet_service_server SubnetService Subnet SubnetName subnet subnets [parent]
        create_subnet CreateSubnetRequest subnet_id get_subnet list_subnets ListSubnetsResponse
        update_subnet UpdateSubnetRequest delete_subnet watch_subnets WatchSubnetsStream {
            async fn list_utilization(
                &self,
                request: Request<v1::ListRequest>,
            ) -> Result<Response<v1::ListUtilizationResponse>, Status> {
                let model = self.views.model(&caller(&request)?);
                let (utilizations, request) = (Arc::clone(&self.utilizations), request.into_inner());
                aside(move || list_utilization(&utilizations, &model, &request)).await.map(Response::new)
            }
        };
    port_service_server PortService Port PortName port ports [parent]
        create_port CreatePortRequest port_id get_port list_ports ListPortsResponse
        update_port UpdatePortRequest delete_port watch_ports WatchPortsStream;
    security_group_service_server SecurityGroupService SecurityGroup SecurityGroupName security_group security_groups [parent]
        create_security_group CreateSecurityGroupRequest security_group_id
        get_security_group list_security_groups ListSecurityGroupsResponse
        update_security_group UpdateSecurityGroupRequest delete_security_group
        watch_security_groups WatchSecurityGroupsStream {
            async fn edit_rules(
                &self,
                request: Request<v1::EditRulesRequest>,
            ) -> Result<Response<v1::EditRulesResponse>, Status> {
                let asked = request.get_ref();
                let call = Call::new(&request, "edit_rules", &asked.request_id, asked.validate_only)?;
                self.edit_rules(call, &request.into_inner()).await.map(Response::new)
            }
        };
    host_service_server HostService Host HostName host hosts []
        create_host CreateHostRequest host_id get_host list_hosts ListHostsResponse
        update_host UpdateHostRequest delete_host watch_hosts WatchHostsStream {
            async fn remove_host(
                &self,
                request: Request<v1::RemoveHostRequest>,
            ) -> Result<Response<v1::ApplyResponse>, Status> {
                let asked = request.get_ref();
                let call = Call::new(&request, "remove_host", &asked.request_id, asked.validate_only)?;
                self.remove_host(call, &request.into_inner()).await.map(Response::new)
            }
        };
    zone_service_server ZoneService Zone ZoneName zone zones []
        create_zone CreateZoneRequest zone_id get_zone list_zones ListZonesResponse
        update_zone UpdateZoneRequest delete_zone watch_zones WatchZonesStream;
    vtep_service_server VtepService Vtep VtepName vtep vteps [parent]
        create_vtep CreateVtepRequest vtep_id get_vtep list_vteps ListVtepsResponse
        update_vtep UpdateVtepRequest delete_vtep watch_vteps WatchVtepsStream;
    prefix_list_service_server PrefixListService PrefixList PrefixListName prefix_list prefix_lists [parent]
        create_prefix_list CreatePrefixListRequest prefix_list_id
        get_prefix_list list_prefix_lists ListPrefixListsResponse
        update_prefix_list UpdatePrefixListRequest delete_prefix_list watch_prefix_lists WatchPrefixListsStream;
    operator_policy_service_server OperatorPolicyService OperatorPolicy OperatorPolicyName
        operator_policy operator_policies []
        create_operator_policy CreateOperatorPolicyRequest operator_policy_id
        get_operator_policy list_operator_policies ListOperatorPoliciesResponse
        update_operator_policy UpdateOperatorPolicyRequest delete_operator_policy
        watch_operator_policies WatchOperatorPoliciesStream;
}
