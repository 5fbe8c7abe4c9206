"""Typed rows from JSON of any shape: a null is an absent field, and what is no such object is a WireError alone."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, strategies as st
from kubernetes.utils.quantity import parse_quantity

from statedb import Database, load
from statedb.catalog import Object, ObjectHead, ObjectKey, kinds
from statedb.catalog.kinds.parts import LabelSelector
from statedb.catalog.wire import WireError
from statedb.catalog.wire.kinds import reader

from .typed_rows import Json, body_of, check_body, inner

TEXTS = st.text(max_size=4)
PORTS = st.sampled_from(["http", "25%", "80", ""]) | st.integers(-(2**31), 2**31)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda below: st.lists(below, max_size=2) | st.dictionaries(TEXTS, below, max_size=2),
    max_leaves=4,
)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """JSON that fits a type."""
    kind = inner(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.deferred(lambda: fields_of(msgspec.structs.fields(kind)))
    if get_origin(kind) is tuple:
        return st.lists(values_of(get_args(kind)[0]), max_size=2)
    if kind == int | str:
        return PORTS
    if get_origin(kind) is not None and issubclass(get_origin(kind), Mapping):
        return st.dictionaries(TEXTS, TEXTS, max_size=2)
    return {str: TEXTS, int: st.integers(-(2**63), 2**63 - 1), bool: st.booleans()}[kind]


def fields_of(fields: tuple[msgspec.structs.FieldInfo, ...]) -> st.SearchStrategy[Json]:
    """JSON of some of these fields; others are null, and there are fields that nobody knows."""
    optional = {field.encode_name: st.none() | values_of(field.type) for field in fields}
    return st.fixed_dictionaries({}, optional={**optional, "fieldOfTomorrow": VALUES})


KINDS = st.sampled_from(kinds.KINDS)
OBJECTS = KINDS.flatmap(lambda kind: st.tuples(st.just(kind), fields_of(body_of(kind.table.row_type))))


@given(OBJECTS)
def test_a_row_holds_the_fields_of_its_object(drawn: tuple[kinds.Kind, Json]):
    kind, value = drawn
    named = {**value, "metadata": {"name": "n", "namespace": "s", "labels": None, "managedFields": [{}]}}
    (row,) = reader(kind.table.row_type, "c")(msgspec.json.encode(named))
    assert (row.key, row.labels) == (ObjectKey("c", "s", "n"), ())
    check_body(row, value)
    assert msgspec.json.decode(msgspec.json.encode(row), type=kind.table.row_type) == row  # published and dumped rows
    for index in kind.table.indexes.values():
        hash(index.keys_of(row))


@given(KINDS, st.dictionaries(st.sampled_from(["spec", "status", "data", "ports", "type", "secrets"]), VALUES))
def test_what_does_not_fit_is_a_wire_error(kind: kinds.Kind, value: Json):
    read = reader(kind.table.row_type, "c")
    try:
        (row,) = read(msgspec.json.encode({**value, "metadata": {"name": "n"}}))
    except WireError:
        return
    check_types(row)


def check_types(row: ObjectHead) -> None:
    assert msgspec.convert(msgspec.to_builtins(row), type(row)) == row


@pytest.mark.parametrize(
    "value", [b"", b"[]", b"{}", b"null", b'{"metadata":{}}', b'{"metadata":{"name":[]}}', b"\xff"]
)
def test_what_is_no_object(value: bytes):
    with pytest.raises(WireError):
        reader(kinds.Pod, "c")(value)


def test_bytes_that_are_no_utf8_and_halves_of_characters_are_read_as_go_reads_them():
    (row,) = reader(kinds.ConfigMap, "c")(b'{"metadata":{"name":"n"},"data":{"a":"\xff","b":"\\ud800"}}')
    assert row.data == {"a": "\ufffd", "b": "\ufffd"}


def test_every_kind_has_the_standard_indexes_and_one_name():
    for kind in kinds.KINDS:
        assert list(kind.table.indexes)[:4] == ["primary", "by_namespace", "by_label", "by_owner"]
        assert kinds.kind_of(kind.table) is kind
        assert kinds.kind_of(kind.table.named("else")) is kind
        assert all(kinds.kind_named(name.upper()) is kind for name in kind.names)
    assert len({name for kind in kinds.KINDS for name in kind.names}) == sum(len(kind.names) for kind in kinds.KINDS)
    assert kinds.kind_named("deploy.apps.v1") is None
    assert kinds.kind_named("pods.apps") is None


def test_a_dump_of_typed_rows_comes_back():
    (row,) = reader(kinds.Event, "c")(b'{"metadata":{"name":"n"},"involvedObject":{"name":"x"},"count":3}')
    db, again = Database(kinds.Events), Database(kinds.Events)
    db.insert(kinds.Events, row)
    load(again, db.dump())
    assert again.snapshot()[kinds.Events][row.key] == row


LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))


@given(
    LABELS,
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.sampled_from("ab"),
    st.lists(st.sampled_from("xy"), min_size=1),
)
def test_selectors_follow_the_rules_of_kubernetes(labels: dict[str, str], operator: str, key: str, values: list[str]):
    selector = msgspec.convert(
        {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}, LabelSelector
    )
    expected = {
        "In": labels.get(key) in values,
        "NotIn": key not in labels or labels[key] not in values,  # an absent label is in no list
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    assert selector.selects(labels) == selector.selects(tuple(labels.items())) == expected[operator]
    assert LabelSelector(match_labels=labels).selects({**labels, "c": "z"})
    assert not LabelSelector(match_labels={"c": "z"}).selects(labels)


NUMBERS = st.decimals(-1000, 1000, places=2).map(str) | st.integers(0, 10**18).map(str)


@given(NUMBERS, st.sampled_from(["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]))
def test_quantities_are_those_of_the_official_client(number: str, suffix: str):
    assert kinds.quantity(number + suffix) == parse_quantity(number + suffix)


@pytest.mark.parametrize(
    ("text", "value"), [("1e3", 1000), ("1E-1", "0.1"), ("2E", 2 * 10**18), (".5", "0.5"), ("5.", 5)]
)
def test_quantities_with_exponents(text: str, value: int | str):
    assert kinds.quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "m", "1 ", "1mm", "1KI", "--1", "1e", "NaN", "\u0661"])
def test_what_is_no_quantity(text: str):
    with pytest.raises(ValueError, match="is not a quantity"):
        kinds.quantity(text)


def test_rows_as_they_are_have_the_same_head():
    assert issubclass(Object, ObjectHead)
    assert Object.__struct_fields__[:10] == ObjectHead.__struct_fields__
