"""What a control plane in Python does with andromede.v1: run by tests/clients.rs against a controller of its own."""

import sys

import grpc
from andromede.v1 import (
    fabric_service_pb2,
    fabric_service_pb2_grpc,
    methods_pb2,
    network_service_pb2,
    network_service_pb2_grpc,
    port_service_pb2,
    port_service_pb2_grpc,
    resources_pb2,
    subnet_service_pb2,
    subnet_service_pb2_grpc,
    tenant_service_pb2,
    tenant_service_pb2_grpc,
)
from google.protobuf import field_mask_pb2


def refused(code, call, request):
    try:
        call(request)
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error
    raise AssertionError(f"{code} was due")


def main(address):
    channel = grpc.insecure_channel(address)
    tenants = tenant_service_pb2_grpc.TenantServiceStub(channel)
    networks = network_service_pb2_grpc.NetworkServiceStub(channel)
    subnets = subnet_service_pb2_grpc.SubnetServiceStub(channel)
    ports = port_service_pb2_grpc.PortServiceStub(channel)
    fabric = fabric_service_pb2_grpc.FabricServiceStub(channel)

    tenant = tenants.CreateTenant(
        tenant_service_pb2.CreateTenantRequest(tenant_id="mairie", tenant=resources_pb2.Tenant(display_name="Mairie"))
    )
    network = networks.CreateNetwork(
        network_service_pb2.CreateNetworkRequest(
            parent=tenant.name, network_id="intranet", network=resources_pb2.Network()
        )
    )
    assert network.vni >= 4096, network
    subnets.CreateSubnet(
        subnet_service_pb2.CreateSubnetRequest(
            parent=network.name, subnet_id="v4", subnet=resources_pb2.Subnet(cidr="10.0.0.0/24")
        )
    )
    create = port_service_pb2.CreatePortRequest(
        parent=network.name,
        port=resources_pb2.Port(addresses=["10.0.0.7"], labels={"env": "prod"}),
        request_id="4d9ec1a5-one",
    )
    port = ports.CreatePort(create)
    assert ports.CreatePort(create) == port, "a repeated request gives the first answer"

    wanted = resources_pb2.Port(name=port.name, etag=port.etag, labels={"env": "test"})
    update = port_service_pb2.UpdatePortRequest(
        port=wanted, update_mask=field_mask_pb2.FieldMask(paths=["labels.env"])
    )
    changed = ports.UpdatePort(update)
    assert changed.labels["env"] == "test" and changed.addresses == port.addresses, changed
    refused(grpc.StatusCode.ABORTED, ports.UpdatePort, update)
    listed = ports.ListPorts(methods_pb2.ListRequest(parent=network.name, filter='labels.env = "test"'))
    assert [it.name for it in listed.ports] == [port.name], listed
    refused(grpc.StatusCode.FAILED_PRECONDITION, tenants.DeleteTenant, methods_pb2.DeleteRequest(name=tenant.name))

    plan = fabric.Plan(fabric_service_pb2.PlanRequest(deleted=[port.name]))
    assert plan.changes[0].kind == fabric_service_pb2.ResourceChange.KIND_DELETED, plan
    done = ports.DeletePort(methods_pb2.DeleteRequest(name=port.name, etag=changed.etag))
    watch = ports.WatchPorts(methods_pb2.WatchRequest(after_revision=done.revision - 1, parent=network.name))
    assert list(next(watch).deleted) == [port.name]
    watch.cancel()
    print("done")


main(sys.argv[1])
