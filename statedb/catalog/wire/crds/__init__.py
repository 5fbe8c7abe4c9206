"""The rows of the catalog from objects of Kubernetes: JSON, or plain values out of YAML. Pure, one object at a time.

Where Cilium's readers of the API server and its etcd tell the same fact differently, the rows are those that come out
of an etcd which clustermesh-apiserver filled from the same objects, so that it does not matter where rows come from: no
identity is 0 and not 3 (unmanaged), an endpoint without a node address is there with an empty one, no encryption key is
0. What an etcd cannot hold (services that are not shared, their affinity, in form v1 the node and conditions of a
backend) is in the rows nevertheless. ``source`` is ``custom-resource`` for what CRDs hold, the word that nodes carry in
etcd, and ``k8s`` for services and backends.

Numbers and booleans may be text (YAML read without guessing), a null is an absent field, and an object of a namespaced
kind that names no namespace is in ``default``. One address, network, port or endpoint that cannot be read costs only
itself: the rows are `PartlyRead` then. Whatever else is wrong raises WireError naming the field.
Field tables: cilium/cilium clustermesh-apiserver/clustermesh/converters.go and service_sync.go, pkg/k8s/node.go.
"""

from ._objects import read
from .endpoints import endpoint, endpoint_slice_of_cilium
from .identities import identity
from .namespaces import namespace
from .nodes import node
from .policies import policy
from .services import endpoint_slice, join, service, whole_endpoint_slice

__all__ = [
    "endpoint",
    "endpoint_slice",
    "endpoint_slice_of_cilium",
    "identity",
    "join",
    "namespace",
    "node",
    "policy",
    "read",
    "service",
    "whole_endpoint_slice",
]
