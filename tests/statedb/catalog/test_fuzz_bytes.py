"""Bytes with mistakes in them: every decoder gives rows or a WireError, never anything else."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest

from statedb.catalog.wire import WireError, cluster_configs, crds, endpoint_slices, identities, ips, nodes, services

from ...mutations import many
from .test_crds_fuzz import KINDS

Decode = Callable[[bytes], object]

(_NODE,) = crds.node(KINDS["CiliumNode"][1], "c", 1)
_ENDPOINT = crds.endpoint(KINDS["CiliumEndpoint"][1], "c")[0]
_IDENTITY = crds.identity(KINDS["CiliumIdentity"][1], "c")
(_SERVICE,) = crds.service(KINDS["Service"][1], "c", 1)
assert _IDENTITY is not None
_BACKENDS = crds.join(_SERVICE, [crds.endpoint_slice(KINDS["EndpointSlice"][1], "c")])
_MESSAGE = next(
    row.message for row in crds.whole_endpoint_slice(KINDS["EndpointSlice"][1], "c", 1) if hasattr(row, "message")
)

VALUES: dict[str, tuple[Decode, bytes]] = {
    "node": (lambda value: nodes.decode("c", f"c/{_NODE.key.name}", value), nodes.encode(_NODE)),
    "ip": (lambda value: ips.decode("c", _ENDPOINT.key.ip, value), ips.encode(_ENDPOINT)),
    "identity": (lambda value: identities.decode("c", "70000", value), identities.encode(_IDENTITY)),
    "service": (
        lambda value: services.decode("c", f"c/{_SERVICE.key.namespace}/{_SERVICE.key.name}", value),
        services.encode(_SERVICE, _BACKENDS),
    ),
    "cluster config": (cluster_configs.decode, cluster_configs.encode(cluster_configs.ClusterConfig(1))),
    "compressed slice": (
        lambda value: endpoint_slices.decode("c", "c/default/s", value),
        endpoint_slices.compressed(_MESSAGE),
    ),
    "slice": (lambda value: endpoint_slices.decode("c", "c/default/s", endpoint_slices.compressed(value)), _MESSAGE),
    "ip key": (lambda value: ips.decode("c", value.decode("utf-8", "replace"), ips.encode(_ENDPOINT)), b"10.0.0.1"),
}
OBJECTS: dict[str, tuple[Decode, bytes]] = {
    kind: (lambda value, read=read: read(msgspec.Raw(value)), json.dumps(value).encode())
    for kind, (read, value) in KINDS.items()
}
ALL = VALUES | OBJECTS


def fuzz(name: str, seed: int, count: int) -> None:
    decode, original = ALL[name]
    for number, value in enumerate(many(seed, [original], count)):
        try:
            decode(value)
        except WireError:
            pass
        except Exception as error:
            raise AssertionError(f"mutation {number} of seed {seed}: {error!r}: {value[:400]!r}") from error


@pytest.mark.parametrize("name", ALL)
def test_mistakes_in_a_value_are_rows_or_a_wire_error(name: str):
    fuzz(name, seed=1, count=500)


@pytest.mark.stress
@pytest.mark.parametrize("name", ALL)
def test_mistakes_in_a_value_are_rows_or_a_wire_error_at_length(name: str):
    fuzz(name, seed=2, count=12_500)
