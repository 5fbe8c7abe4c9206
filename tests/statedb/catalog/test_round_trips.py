"""decode(encode(row)) == row, and decoders answer any bytes with a row or a WireError."""

import json

import pytest
from hypothesis import example, given, strategies as st

from statedb.catalog import Backend, Endpoint, Identity, Node, Service
from statedb.catalog.wire import WireError, identities, ips, nodes, services

from . import strategies as rows
from .strategies import CLUSTER


@given(rows.identities)
def test_identities(identity: Identity):
    assert identities.decode(CLUSTER, identities.name(identity), identities.encode(identity)) == identity


@given(rows.endpoints)
def test_endpoints(endpoint: Endpoint):
    assert ips.decode(CLUSTER, ips.name(endpoint), ips.encode(endpoint)) == endpoint


@given(rows.nodes)
def test_nodes(node: Node):
    assert nodes.decode(CLUSTER, nodes.name(node), nodes.encode(node)) == node


@given(rows.shared_services())
def test_services(pair: tuple[Service, tuple[Backend, ...]]):
    service, backends = pair
    assert services.decode(CLUSTER, services.name(service), services.encode(service, backends)) == (service, backends)


VALUES = {
    "ips": ips.encode(Endpoint(rows.EndpointKey(CLUSTER, "10.0.0.1"), 7, "172.18.0.2", "ns", "pod")),
    "nodes": nodes.encode(Node(rows.NodeKey(CLUSTER, "n"), pod_cidrs=("10.0.0.0/24",))),
    "services": services.encode(Service(rows.ServiceKey(CLUSTER, "ns", "web")), ()),
}
DECODERS = {
    "ips": lambda value: ips.decode(CLUSTER, "10.0.0.1", value),
    "nodes": lambda value: nodes.decode(CLUSTER, f"{CLUSTER}/n", value),
    "services": lambda value: services.decode(CLUSTER, f"{CLUSTER}/ns/web", value),
    "identities": lambda value: identities.decode(CLUSTER, "70000", value),
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("name", DECODERS)
@given(value=st.binary(max_size=60))
@example(value=b"")
@example(value=b"[" * 100_000)
@example(value=b"null")
@example(value=b'{"IP":"\\ud800"}')
def test_any_bytes_are_a_row_or_a_wire_error(name: str, value: bytes):
    try:
        DECODERS[name](value)
    except WireError:
        pass


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
def test_a_value_with_any_field_changed_is_a_row_or_a_wire_error(name: str, data: st.DataObject):
    fields = json.loads(VALUES[name])
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(json_values)
    try:
        DECODERS[name](json.dumps(fields).encode())
    except WireError:
        pass


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
def test_spelled_as_other_writers_spell_it_the_row_is_the_same(name: str, data: st.DataObject):
    """Names in any case, in any order, unknown fields between them, white space: Go's reader does not mind."""
    fields = list(json.loads(VALUES[name]).items())
    extra = data.draw(st.dictionaries(st.text("xyz", min_size=4, max_size=6), json_values, max_size=2))
    spelled = data.draw(st.permutations([*fields, *extra.items()]))
    spelled = [(data.draw(st.sampled_from([key, key.upper(), key.lower()])), value) for key, value in spelled]
    assert DECODERS[name](json.dumps(dict(spelled), indent=1).encode()) == DECODERS[name](VALUES[name])
