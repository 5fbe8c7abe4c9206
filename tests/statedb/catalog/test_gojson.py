"""JSON the way Go reads and writes it: the quick way and the lenient one tell the same, whatever the spelling."""

import json
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import example, given, strategies as st
from msgspec import Meta

from statedb.catalog.wire import DECODE_ERRORS, WireError, _gojson
from statedb.catalog.wire.ips import _Pair
from statedb.catalog.wire.nodes import _Node
from statedb.catalog.wire.services import _Service


class Inner(msgspec.Struct, forbid_unknown_fields=True, rename={"key": "Key", "size": "size"}):
    key: str
    size: int


class Outer(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, rename="camel"):
    """One field of every shape that the formats have."""

    name: str
    task_count: Annotated[int, Meta(ge=0, le=255)]
    on: bool
    inner: Inner | str | None
    many: list[Inner | None] | None
    by_name: dict[str, dict[str, Inner | None] | None] | None
    words: dict[str, str] | None = None
    raw: bytes | None = None


READ = _gojson.Reader(Outer)
EMPTY = Outer(name="", task_count=0, on=False, inner=None, many=None, by_name=None)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
inners = st.builds(Inner, texts, st.integers(-5, 5))
outers = st.builds(
    Outer,
    name=texts,
    task_count=st.integers(0, 255),
    on=st.booleans(),
    inner=st.none() | texts | inners,
    many=st.none() | st.lists(st.none() | inners, max_size=2),
    by_name=st.none()
    | st.dictionaries(texts, st.none() | st.dictionaries(texts, st.none() | inners, max_size=2), max_size=2),
    words=st.none() | st.dictionaries(texts, texts, max_size=2),
    raw=st.none() | st.binary(max_size=5),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{}", EMPTY),
        ('{"name":"a"}', msgspec.structs.replace(EMPTY, name="a")),
        ('{"NAME":"a","TASKcount":3,"On":true}', msgspec.structs.replace(EMPTY, name="a", task_count=3, on=True)),
        ('{"name":null,"taskCount":null,"on":null,"many":null}', EMPTY),
        ('{"name":"a","name":"b"}', msgspec.structs.replace(EMPTY, name="b")),
        ('{"name":"a","NAME":"b"}', msgspec.structs.replace(EMPTY, name="b")),
        ('{"name":"a","Name":null}', msgspec.structs.replace(EMPTY, name="a")),
        ('{"tas\u212aCount":3}', msgspec.structs.replace(EMPTY, task_count=3)),
        ('{"ta\u017fkCount":3}', msgspec.structs.replace(EMPTY, task_count=3)),
        ('{"task_count":3,"other":[{"deep":[1,null]}],"":{}}', EMPTY),
        ('{"inner":"a"}', msgspec.structs.replace(EMPTY, inner="a")),
        ('{"inner":{"KEY":"a","x":1}}', msgspec.structs.replace(EMPTY, inner=Inner("a", 0))),
        ('{"many":[{"KEY":"a"},null]}', msgspec.structs.replace(EMPTY, many=[Inner("a", 0), None])),
        ('{"byName":{"B":{"b":{"Size":1}},"b":null}}', msgspec.structs.replace(
            EMPTY, by_name={"B": {"b": Inner("", 1)}, "b": None})),
        ('{"words":{"A":"1","a":null}}', msgspec.structs.replace(EMPTY, words={"A": "1", "a": ""})),
        ('{"raw":"/w=="}', msgspec.structs.replace(EMPTY, raw=b"\xff")),
        (' \n{ "name" : "\\u0061" }\t', msgspec.structs.replace(EMPTY, name="a")),
        ('{"name":"\\ud83d\\ude00"}', msgspec.structs.replace(EMPTY, name="\U0001f600")),
        ('{"name":"\\ud800x"}', msgspec.structs.replace(EMPTY, name="\ufffdx")),
        ('{"words":{"\\ud800":"\\udfff"}}', msgspec.structs.replace(EMPTY, words={"\ufffd": "\ufffd"})),
    ],
)  # fmt: skip
def test_the_rules_of_go(value: str, expected: Outer):
    assert READ(value.encode()) == expected
    assert READ.leniently(value.encode()) == expected


def test_bytes_that_are_not_utf_8_are_replaced():
    assert READ(b'{"name":"a\xffb"}').name == "a\ufffdb"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"name":"a"}{}', "not JSON"),
        (b'{"name":"a",}', "not JSON"),
        (b"{'name':'a'}", "not JSON"),
        (b'{"name":"a\nb"}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"taskCount":NaN}', "NaN is not a number"),
        (b'{"other":Infinity}', "Infinity is not a number"),
        (b'{"other":-Infinity}', "-Infinity is not a number"),
        (b'{"other":' + b"9" * 5000 + b"}", "not JSON"),
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'"a"', "not a JSON object"),
        (b"1", "not a JSON object"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"name":1}', "name: expected str, got int"),
        (b'{"taskCount":256}', "taskCount: expected int <= 255"),
        (b'{"taskCount":-1}', "taskCount: expected int >= 0"),
        (b'{"taskCount":1.5}', "taskCount: expected int, got float"),
        (b'{"taskCount":1e400}', "taskCount: expected int"),
        (b'{"taskCount":"1"}', "taskCount: expected int, got str"),
        (b'{"taskCount":true}', "taskCount: expected int, got bool"),
        (b'{"on":1}', "on: expected bool, got int"),
        (b'{"many":[{},{"size":"x"}]}', "many[1].size: expected int, got str"),
        (b'{"many":{}}', "many: expected array | null, got object"),
        (b'{"byName":[]}', "byName: expected object | null, got array"),
        (b'{"inner":[]}', "inner: expected "),
        (b'{"inner":{"size":[]}}', "inner.size: expected int"),
        (b'{"raw":"%"}', "raw: invalid base64"),
    ],
)
def test_what_is_wrong_is_named(value: bytes, told: str):
    with pytest.raises(WireError) as raised:
        READ(value)
    assert told in str(raised.value)
    assert "`" not in str(raised.value)


def _fields(outer: Outer) -> dict[str, Any]:
    """All of it; what the fast way passes over is in a subclass."""
    return {name: getattr(outer, name) for name in Outer.__struct_fields__}


@given(outers)
def test_what_is_written_is_read_both_ways(outer: Outer):
    value = _gojson.encode(outer)
    assert _fields(READ.exactly(value)) == _fields(READ.leniently(value)) == _fields(outer)


def _recased(draw: Any, name: str) -> str:
    return "".join(draw(st.sampled_from([letter.lower(), letter.upper()])) for letter in name)


def _respelled(draw: Any, value: Any, shape: Any) -> str:
    """The JSON of a value as a careless writer spells it: names in any case, strangers and earlier values between."""
    if isinstance(value, dict) and shape is not None:
        pairs = [(_recased(draw, name), _respelled(draw, each, shape.get(name))) for name, each in value.items()]
        names = sorted(value)
        for _ in range(draw(st.integers(0, 2))):
            stranger = draw(st.text("xyz", min_size=9))
            pairs.append((stranger, json.dumps(draw(json_values))))
        pairs = draw(st.permutations(pairs))
        for name in names[: draw(st.integers(0, 1))]:
            # Before: overwritten by what follows. A null after: changes nothing.
            pairs = [(name, "null"), *pairs, (_recased(draw, name), "null")]
        return "{" + " , ".join(f"{json.dumps(name)} :{each}" for name, each in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_respelled(draw, each, (shape or [None])[0]) for each in value) + "]"
    return json.dumps(value)


INNER_SHAPE: dict[str, Any] = {"Key": None, "size": None}
OUTER_SHAPE: dict[str, Any] = {"name": None, "inner": INNER_SHAPE, "many": [INNER_SHAPE]}


@given(outers, st.data())
def test_a_careless_spelling_reads_the_same(outer: Outer, data: st.DataObject):
    value = json.loads(_gojson.encode(outer))
    assert READ(_respelled(data.draw, value, OUTER_SHAPE).encode()) == outer


@pytest.mark.parametrize("kind", [Outer, _Pair, _Node, _Service])
@given(data=st.data())
def test_what_the_quick_way_takes_the_lenient_way_reads_the_same(kind: type[msgspec.Struct], data: st.DataObject):
    """Values that are nearly right: the fields there are, with what may stand there or anything."""
    read = _gojson.Reader(kind)
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    likely = st.sampled_from([None, "", "a", 0, 1, 300, True, [], {}, [None], {"a": None}, {"": {"a": None}}, "/w=="])
    fields = {name: data.draw(likely | json_values, name) for name in names}
    value = json.dumps(fields).encode()
    try:
        exact = read.exactly(value)
    except DECODE_ERRORS:
        return
    assert read.leniently(value) == exact


@given(st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
@example(b'{"a":1e999999999}')
@example(b'{"taskCount":' + b"1" * 400 + b"}")
@example(b'{"":"\\udfff"}')
@example(b"{" * 1000)
def test_any_bytes_are_a_struct_or_a_wire_error(value: bytes):
    try:
        read = READ(value)
    except WireError:
        return
    assert isinstance(read, Outer)
    assert READ.leniently(value) == read


def test_writing_escapes_what_go_escapes_and_nothing_else():
    value = _gojson.encode(Inner('<a&b>\u2028\u2029\u00e9\U0001f600/"\\\n\t\x01\x7f', 1))
    assert value == (
        b'{"Key":"\\u003ca\\u0026b\\u003e\\u2028\\u2029\xc3\xa9\xf0\x9f\x98\x80/\\"\\\\\\n\\t\\u0001\x7f","size":1}'
    )


def test_text_that_is_not_unicode_cannot_be_written():
    with pytest.raises(WireError, match="not Unicode"):
        _gojson.encode(Inner("\ud800", 1))


names = st.sampled_from(["name", "NAME", "taskCount", "taskcount", "K8sPodUID"]) | st.text(max_size=3)


@given(outers, st.dictionaries(names, json_values, max_size=3))
def test_fields_of_a_newer_release_are_passed_over_by_a_short_way(outer: Outer, more: dict[str, object]):
    value = json.dumps({**json.loads(_gojson.encode(outer)), **more}).encode()
    try:
        quick = READ._without_unknown(value)
    except DECODE_ERRORS:
        known = {
            _gojson._folded(name) for name in ("name", "taskCount", "on", "inner", "many", "byName", "words", "raw")
        }
        assert any(_gojson._folded(name) in known for name in more)
        return
    assert quick == READ._by_all_rules(value)
