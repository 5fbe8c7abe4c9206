"""Decodes objects of Kubernetes to the rows of the catalog. Pure, one object at a time.

An object is JSON, or a plain value from YAML. If Cilium's readers of the API server and of etcd represent a fact
differently, the rows are those of an etcd that clustermesh-apiserver has filled from the same objects, so that the
source makes no difference. An absent identity is 0 and not 3 (unmanaged), an endpoint without a node address has an
empty one, and an absent encryption key is 0. Rows also have what an etcd cannot hold: services that are not shared,
their affinity, and the node and conditions of a backend, which format v1 lacks. ``source`` is ``custom-resource`` for
CRDs, as for nodes in etcd, and ``k8s`` for services and backends.

Numbers and booleans may be text, as in YAML that is read without guessing types. A null is an absent field. An object
of a namespaced kind without a namespace is in ``default``. One address, network, port or endpoint that cannot be
decoded is left out, and the rows are then `PartlyRead`. Any other error raises WireError, which names the field. Field
tables: cilium/cilium clustermesh-apiserver/clustermesh/converters.go and service_sync.go, pkg/k8s/node.go.
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
