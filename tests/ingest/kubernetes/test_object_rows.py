"""Objects as rows: nothing is lost but what is dropped, and what is no object is rejected."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, strategies as st

from ingest.kubernetes.object_rows import ObjectReader
from ingest.kubernetes.paths import kept, keys_at, parse, remove, values_at
from statedb.catalog import ObjectKey
from statedb.catalog.wire import WireError

NAMES = st.sampled_from(["spec", "status", "a", "b.c", "d/e"])
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
)
BODIES = st.dictionaries(NAMES, VALUES, max_size=4)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)
STRINGS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)


def as_json(body: dict[str, Any], **metadata: Any) -> bytes:
    return msgspec.json.encode({"apiVersion": "v1", "kind": "X", **body, "metadata": {"name": "n", **metadata}})


@given(BODIES, STRINGS, STRINGS)
def test_a_row_holds_the_whole_object(body: dict[str, Any], labels: dict[str, str], annotations: dict[str, str]):
    value = as_json(body, namespace="ns", labels=labels, annotations=annotations, managedFields=[{"manager": "x"}])
    (row,) = ObjectReader("c")(value)
    assert row.key == ObjectKey("c", "ns", "n")
    assert row.value() == body
    assert (dict(row.labels), dict(row.annotations)) == (labels, annotations)
    assert "managedFields" not in row.rest


@given(BODIES, PATHS)
def test_drop_and_keep_share_an_object_out(body: dict[str, Any], path: tuple[str, ...]):
    (less,) = ObjectReader("c", drop=(path,))(as_json(body))
    assert list(values_at(less.value(), path)) == []
    (only,) = ObjectReader("c", keep=(path,))(as_json(body))
    assert list(values_at(only.value(), path)) == list(values_at(body, path))
    remove(body, path)
    assert less.value() == body


@given(BODIES, PATHS)
@example({"a": [{"a": 1}, {"a": [2, 1]}]}, ("a", "a"))
def test_an_index_by_path_has_a_key_for_each_scalar(body: dict[str, Any], path: tuple[str, ...]):
    (row,) = ObjectReader("c", indexed=(path,), drop=((path[0],),))(as_json(body))
    assert row.indexed == (keys_at(body, path),)
    assert len(set(row.indexed[0])) == len(row.indexed[0])


def test_labels_and_annotations_can_be_dropped():
    paths = (parse("metadata.annotations['a/b.c']"), parse("metadata.labels"), parse("metadata.uid"))
    value = as_json({}, annotations={"a/b.c": "long", "d": "e"}, labels={"x": "y"}, uid="u")
    (row,) = ObjectReader("c", drop=paths)(value)
    assert (row.annotations, row.uid) == ((("d", "e"),), "u")


@pytest.mark.parametrize("value", [b"[]", b"{}", b'{"metadata":{}}', b'{"metadata":{"name":1}}', b"{", b"\xff"])
def test_what_is_no_object_is_rejected(value: bytes):
    with pytest.raises(WireError):
        ObjectReader("c")(value)


@pytest.mark.parametrize("text", ["", ".", "a..b", "a[", "a['b]", "a b", "[*]", "a]"])
def test_what_is_no_path(text: str):
    with pytest.raises(ValueError, match="is not a path"):
        parse(text)


def test_keeping_a_whole_value_keeps_all_below():
    assert kept({"a": {"b": 1, "c": 2}}, [("a",), ("a", "b")]) == {"a": {"b": 1, "c": 2}}
