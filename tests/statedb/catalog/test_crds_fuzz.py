"""Whatever stands in an object of Kubernetes: it becomes rows or a WireError, never anything else."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given, strategies as st

from statedb.catalog.wire import WireError, crds

from .test_identities import OBJECT as IDENTITY
from .test_ips import CEP, CES
from .test_nodes import OBJECT as NODE
from .test_policies import POLICY
from .test_services import SERVICE, SLICE

NAMESPACE: dict[str, Any] = {
    "kind": "Namespace",
    "metadata": {"name": "shop", "labels": {"team": "a"}, "annotations": {"clustermesh.cilium.io/global": "true"}},
}
KINDS: dict[str, tuple[Callable[[Any], object], dict[str, Any]]] = {
    "CiliumNode": (lambda value: crds.node(value, "c", 1), NODE),
    "CiliumIdentity": (lambda value: crds.identity(value, "c"), IDENTITY),
    "CiliumEndpoint": (lambda value: crds.endpoint(value, "c"), CEP),
    "CiliumEndpointSlice": (lambda value: crds.endpoint_slice_of_cilium(value, "c"), CES),
    "CiliumNetworkPolicy": (crds.policy, POLICY),
    "Namespace": (lambda value: crds.namespace(value, "c"), NAMESPACE),
    "Service": (lambda value: crds.service(value, "c", 1), SERVICE),
    "EndpointSlice": (lambda value: crds.endpoint_slice(value, "c"), SLICE),
}

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["", "-1", "999999999999999999999", "1e400", "10.0.0.1", "fd00::1", "10.0.0.0/8", "<nil>", "\ud800"]
    )
    | st.sampled_from([10**400, -(2**63) - 1, 2**64, "9" * 5000, "10.0.0.0/" + "9" * 5000, b"x"])
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each field and item at any depth, as its container and its name there."""
    found: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    for name in found:
        yield value, name
        if isinstance(value[name], (dict, list)):
            yield from places(value[name])


@pytest.mark.parametrize("kind", KINDS)
def test_the_object_itself_can_be_read(kind: str):
    read, value = KINDS[kind]
    before = copy.deepcopy(value)
    assert read(value) is not None
    assert value == before


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_an_object_with_anything_in_any_place_is_rows_or_a_wire_error(kind: str, data: st.DataObject):
    read, value = KINDS[kind]
    value = copy.deepcopy(value)
    for _ in range(data.draw(st.integers(1, 2))):
        all_places = list(places(value))
        container, name = all_places[data.draw(st.integers(0, len(all_places) - 1))]
        container[name] = data.draw(anything)
    try:
        read(value)
    except WireError:
        pass


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "CiliumNetworkPolicy"])
@given(value=anything)
@example(value=None)
@example(value=[])
@example(value={})
@example(value={"metadata": None})
@example(value={"metadata": {"name": ""}})
def test_anything_at_all_is_rows_or_a_wire_error(kind: str, value: Any):
    try:
        KINDS[kind][0](value)
    except WireError:
        pass


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_nested_too_deep_is_refused_or_its_depth_does_not_matter(kind: str):
    read, value = KINDS[kind]
    for field in ("spec", "status", "endpoints", "security-labels", "more"):
        try:
            read({**value, field: nested(100_000)})
        except WireError:
            pass


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_without_a_name_is_refused(kind: str):
    read, value = KINDS[kind]
    for metadata in ({}, {"name": ""}, {"name": None}):
        with pytest.raises(WireError, match=r"^metadata.name: name is unset$"):
            read({**value, "metadata": metadata})


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_without_metadata_is_refused(kind: str):
    read, value = KINDS[kind]
    without = {name: each for name, each in value.items() if name != "metadata"}
    for unread in (without, {**value, "metadata": None}, {**value, "metadata": []}):
        with pytest.raises(WireError, match="metadata"):
            read(unread)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_fields_and_nulls_say_nothing(kind: str):
    read, value = KINDS[kind]
    more = copy.deepcopy(value)
    more["metadata"] |= {"uid": "7", "managedFields": [{"x": 1}], "generateName": None}
    more |= {"x": {"y": [1]}, "nothing": None}
    assert read(more) == read(value)


def outcome(read: Callable[[Any], object], value: Any) -> object:
    try:
        return read(value)
    except WireError as error:
        return f"WireError: {error}"


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_json_is_read_like_the_plain_value_that_it_is(kind: str, data: st.DataObject):
    read, value = KINDS[kind]
    value = copy.deepcopy(value)
    for _ in range(data.draw(st.integers(0, 2))):
        all_places = list(places(value))
        container, name = all_places[data.draw(st.integers(0, len(all_places) - 1))]
        container[name] = data.draw(anything)
    try:
        text = json.dumps(value, allow_nan=False)
        plain = json.loads(text)
    except (TypeError, ValueError):  # bytes, NaN, more digits than Python reads
        assume(False)
    assert outcome(read, text.encode()) == outcome(read, plain)
    assert outcome(read, msgspec.Raw(text.encode())) == outcome(read, plain)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b'{"metadata": {"name": NaN}}', b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_a_wire_error(kind: str, text: bytes):
    with pytest.raises(WireError):
        KINDS[kind][0](text)
