"""Addresses and their identities in etcd (IPIdentityPair of cilium/cilium pkg/identity).

    cilium/state/ip/v1/default/10.244.1.79
        ->  {"IP":"10.244.1.79","HostIP":"172.18.0.3","ID":199472,"Key":0,"Metadata":"","K8sNamespace":"foo"}

The value does not say who observed the endpoint, so the source of rows is always ``custom-resource``, as for CRDs.
``Metadata``, a remark of the agent that wrote the value, is dropped. A network has a ``Mask`` (releases up to 1.20).
"""

from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta

from ..endpoints import Endpoint, EndpointKey, NamedPort
from . import _gojson, cidr
from ._errors import DECODE_ERRORS, WireError
from .addresses import canonical_or_empty, is_canonical
from .identities import HOST, REMOTE_NODE

_Uint8 = Annotated[int, Meta(ge=0, le=0xFF)]
_Uint16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
_Uint32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]

_NIL = "<nil>"
"""Go's text for no address. It is written for a CiliumEndpoint with an invalid address."""


class _Port(msgspec.Struct, forbid_unknown_fields=True, rename="pascal", gc=False):
    name: str
    port: _Uint16
    protocol: str


class _Pair(
    msgspec.Struct,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    gc=False,
    rename={
        "ip": "IP",
        "mask": "Mask",
        "host_ip": "HostIP",
        "id": "ID",
        "key": "Key",
        "metadata": "Metadata",
        "namespace": "K8sNamespace",
        "pod": "K8sPodName",
        "service_account": "K8sServiceAccount",
        "named_ports": "NamedPorts",
    },
):
    """The value. Fields that are always written are required."""

    ip: str
    mask: bytes | msgspec.UnsetType | None = msgspec.UNSET
    """In releases up to 1.20, which write null for an address. Later ones have no such field."""
    host_ip: str
    id: _Uint32
    key: _Uint8
    metadata: str
    namespace: str = ""
    pod: str = ""
    service_account: str = ""
    named_ports: list[_Port] | None = None


_read = _gojson.Reader(_Pair)


def decode(cluster: str, name: str, value: bytes) -> Endpoint | None:
    """The endpoint of address ``name``, or None for ``<nil>``, which must be ignored. Raises WireError.

    Identity 1, the host of the node itself, becomes 6: from here it is a remote node.
    """
    # Inlined for speed: this runs for every address of the cluster in every full list.
    try:
        pair = _read.exactly(value)
    except DECODE_ERRORS:
        pair = _read.leniently(value)
    ip = pair.ip
    if pair.mask or ip != name or not is_canonical(ip):
        if name == _NIL and ip in ("", _NIL):
            return None
        ip = _address(pair, name)
    identity = pair.id
    ports = pair.named_ports
    return Endpoint(
        EndpointKey(cluster, ip),
        REMOTE_NODE if identity == HOST else identity,
        _host(pair.host_ip),
        pair.namespace,
        pair.pod,
        pair.service_account,
        pair.key,
        tuple([NamedPort(port.name, port.port, port.protocol) for port in ports]) if ports else (),
    )


def encode(endpoint: Endpoint) -> bytes:
    """The value of an endpoint's key."""
    address, slash, _ = endpoint.key.ip.partition("/")
    pair = _Pair(
        ip=address,
        mask=cidr.mask_of(endpoint.key.ip)[1] if slash else None,
        host_ip=endpoint.host_ip,
        id=endpoint.identity,
        key=endpoint.encryption_key,
        metadata="",
        namespace=endpoint.namespace,
        pod=endpoint.pod,
        service_account=endpoint.service_account,
        named_ports=[_Port(port.name, port.port, port.protocol) for port in endpoint.named_ports] or None,
    )
    return _gojson.encode(pair)


def name(endpoint: Endpoint) -> str:
    """The part of the key after the address space."""
    return endpoint.key.ip


def _address(pair: _Pair, key: str) -> str:
    """The address or network of a value that does not equal its key. Raises WireError if they do not match."""
    address = canonical_or_empty(pair.ip, "IP")
    if address and pair.mask:
        address = f"{address}/{cidr.mask_length(pair.mask, address)}"
    if not address or address != key:
        raise WireError(f"IP: {address or 'nothing'} does not match the key, {key}")
    return address


@lru_cache(maxsize=8192)
def _host(text: str) -> str:
    """The address of the node. Cached: there are few nodes, so all their endpoints share one text."""
    return canonical_or_empty(text, "HostIP")
