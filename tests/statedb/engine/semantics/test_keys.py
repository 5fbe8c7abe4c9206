"""What may be a key, in what order keys stand, and what index functions may give."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum
from ipaddress import ip_address
from typing import NamedTuple

import attrs
import msgspec
import pytest

from statedb import Database, Index, IndexFunctionError, InvalidKey, Table, UniqueIndex

from ..tables import Pod, Pods, database, names


class Things(Table[object, tuple], name="things"):
    """Rows are tuples: the key, then the keys in the other index."""

    primary = UniqueIndex[object, tuple](lambda row: row[0])
    by_rest = Index[object, tuple](lambda row: row[1:])


def things(*rows: tuple) -> Database:
    db = Database(Things)
    with db.write(Things) as txn:
        for row in rows:
            txn[Things].insert(row)
    return db


class StructKey(msgspec.Struct, frozen=True, order=True):
    space: str
    name: str


class TupleKey(NamedTuple):
    space: str
    name: str


@dataclass(frozen=True, order=True)
class DataKey:
    space: str
    name: str


@attrs.frozen(order=True)
class AttrsKey:
    space: str
    name: str


class Level(IntEnum):
    LOW = 1
    HIGH = 2


ASCENDING = {
    "text": ["", "A", "a", "a\0", "a\0b", "a\1", "aa", "b", "ä", "\U0010ffff"],
    "bytes": [b"", b"\0", b"\0\0", b"\0\1", b"\1", b"\1\0", b"\xff", b"\xff\xff"],
    "numbers": [-(1 << 70), -1, 0, 1, 255, 256, 1 << 70],
    "tuples": [("", ""), ("", "a"), ("a", ""), ("a", "z"), ("ab", "a")],
    "decimals": [Decimal("-1.5"), Decimal(0), Decimal("0.1")],
    "dates": [date(2024, 2, 29), date(2024, 3, 1)],
    "moments": [datetime(2024, 1, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 2, tzinfo=UTC)],
    "addresses": [ip_address("9.0.0.1"), ip_address("10.0.0.1")],
    "enums": [Level.LOW, Level.HIGH],
    **{
        kind.__name__: [kind(space, name) for space in ("", "a", "ab") for name in ("", "x")]
        for kind in (StructKey, TupleKey, DataKey, AttrsKey)
    },
}


@pytest.mark.parametrize("keys", ASCENDING.values(), ids=list(ASCENDING))
def test_keys_stand_in_their_own_order_in_every_index(keys: list):
    db = things(*[(key, key) for key in reversed(keys)])
    snapshot = db.snapshot()
    assert list(snapshot[Things]) == list(snapshot[Things.by_rest].keys()) == keys
    middle = keys[len(keys) // 2]
    assert snapshot[Things].range(middle) == snapshot[Things.by_rest].range(middle)
    assert [row[0] for row in snapshot[Things].range(None, middle)] == keys[: len(keys) // 2]
    assert [snapshot[Things][key][0] for key in keys] == keys
    db.check()


@pytest.mark.parametrize("kind", [StructKey, TupleKey, DataKey, AttrsKey, lambda *fields: fields])
def test_the_leading_fields_of_a_compound_key_are_a_prefix_and_match_whole(kind):
    db = things(*[(kind(space, name),) for space in ("a", "ab") for name in ("x", "y")])
    view = db.snapshot()[Things]
    assert [row[0] for row in view.prefix(("a",))] == [kind("a", "x"), kind("a", "y")]
    assert len(view.prefix(())) == 4
    assert view.prefix(("",)) == ()
    watch, other = view.watch_prefix(("a",)), view.watch_prefix(("b",))
    with db.write(Things) as txn:
        txn[Things].insert((kind("a", "z"),))
    assert (watch.tripped, other.tripped) == (True, False)


@pytest.mark.parametrize("prefix", ["", "a", "\U0010ffff", "a\U0010ffff", "\0"])
def test_a_prefix_of_text_at_the_ends_of_the_alphabet(prefix: str):
    texts = ["", "\0", "a", "a\0", "a\U0010ffff", "a\U0010ffffb", "b", "\U0010ffff", "\U0010ffff\U0010ffff"]
    view = things(*[(text,) for text in texts]).snapshot()[Things]
    assert [row[0] for row in view.prefix(prefix)] == [text for text in texts if text.startswith(prefix)]


@pytest.mark.parametrize("prefix", [b"", b"a", b"\xff", b"a\xff", b"\0"])
def test_a_prefix_of_bytes_at_the_ends_of_the_alphabet(prefix: bytes):
    texts = [b"", b"\0", b"a", b"a\0", b"a\xff", b"a\xffb", b"b", b"\xff", b"\xff\xff"]
    view = things(*[(text,) for text in texts]).snapshot()[Things]
    assert [row[0] for row in view.prefix(prefix)] == [text for text in texts if text.startswith(prefix)]


@pytest.mark.parametrize(("empty", "more"), [("", "x"), (b"", b"x"), (0, 7), (("",), ("x",)), (Decimal(0), Decimal(1))])
@pytest.mark.parametrize("others", [False, True], ids=["alone", "among others"])
def test_a_key_that_is_false_is_a_key(empty, more, others: bool):
    db = things((empty, empty), *([(more, more)] if others else []))
    snapshot = db.snapshot()
    assert snapshot[Things].get(empty) == snapshot[Things.by_rest][empty][0] == (empty, empty)
    assert empty in snapshot[Things]
    assert empty in snapshot[Things.by_rest]
    assert snapshot[Things].range()[0] == (empty, empty)
    with db.write(Things) as txn:
        assert txn[Things].delete(empty) == (empty, empty)
    assert empty not in db.snapshot()[Things.by_rest]


@pytest.mark.parametrize("kind", [tuple, list, set, frozenset, iter, dict.fromkeys, lambda keys: (key for key in keys)])
def test_an_index_function_may_give_any_iterable(kind):
    class Words(Table[str, str], name="words"):
        primary = UniqueIndex[str, str](lambda word: word)
        by_letter = Index[str, str](lambda word: kind(word))

    db = Database(Words)
    with db.write(Words) as txn:
        for word in ("noon", "on", ""):
            txn[Words].insert(word)
    by_letter = db.snapshot()[Words.by_letter]
    assert (by_letter.keys(), by_letter["n"], by_letter["o"]) == (("n", "o"), ("noon", "on"), ("noon", "on"))
    with db.write(Words) as txn:
        txn[Words].delete("noon")
    assert db.snapshot()[Words.by_letter].keys() == ("n", "o")
    db.check()


def test_an_index_function_that_gives_one_text_for_an_iterable_is_told_so():
    class Words(Table[str, str], name="words"):
        primary = UniqueIndex[str, str](lambda word: word)
        by_word = Index[str, str](lambda word: word)

    db = Database(Words)
    with db.write(Words) as txn, pytest.raises(IndexFunctionError, match=r"give an iterable, \('hello',\)"):
        txn[Words].insert("hello")


def test_a_unique_key_of_none_leaves_the_row_out_and_a_primary_one_is_an_error():
    db = database(Pod("a"), Pod("b"), Pod("c", address="10.0.0.1"))
    assert db.snapshot()[Pods.by_address].keys() == ("10.0.0.1",)
    with db.write(Pods) as txn, pytest.raises(IndexFunctionError, match="primary"):
        txn[Pods].insert(Pod(None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "second"),
    [("a", 1), ("a", b"a"), (1, 2.5), (("a", 1), ("a", "b")), (("a",), ("a", "b")), (("a",), "b")],
    ids=repr,
)
def test_keys_of_one_index_have_one_shape(first, second):
    db = things((first, first))
    with db.write(Things) as txn:
        with pytest.raises(InvalidKey, match=r"'things', index 'primary'.*one type"):
            txn[Things].insert((second,))
    with db.write(Things) as txn:
        with pytest.raises(InvalidKey, match=r"'things', index 'by_rest'.*one type"):
            txn[Things].insert((first, second))
    assert list(db.snapshot()[Things]) == [first]
    db.check()


@pytest.mark.parametrize("key", [["a"], {"a"}, frozenset("a"), float("nan"), 1j, {}, object], ids=repr)
@pytest.mark.parametrize("row", [lambda key: (key,), lambda key: ("a", key), lambda key: (("a", key),)])
def test_what_cannot_be_found_or_ordered_is_no_key(key, row):
    db = things()
    with db.write(Things) as txn, pytest.raises(InvalidKey):
        txn[Things].insert(row(key))
    assert len(db.snapshot()[Things]) == 0


def test_rows_under_one_key_stand_in_primary_key_order_whatever_the_order_of_writing():
    db = database(Pod("c", tags=("t", "u")), Pod("a", tags=("u", "t")), Pod("b", tags=("t", "t")))
    by_tag = db.snapshot()[Pods.by_tag]
    assert (names(by_tag["t"]), names(by_tag["u"])) == (["a", "b", "c"], ["a", "c"])
    assert names(by_tag.range()) == ["a", "b", "c"]


def test_the_type_of_keys_is_for_ever_once_it_was_committed():
    """An old snapshot still compares its keys with those of today."""
    db = things(("a", "k"))
    old = db.snapshot()
    with db.write(Things) as txn:
        txn[Things].clear()
    with db.write(Things) as txn, pytest.raises(InvalidKey, match="one type"):
        txn[Things].insert((1, 2))
    assert old[Things].range("a") == old[Things.by_rest].prefix("k") == (("a", "k"),)


def test_the_type_of_keys_that_were_never_committed_binds_nobody():
    db = things()
    txn = db.write(Things)
    txn[Things].insert(("a", "k"))
    txn.abort()
    with db.write(Things) as txn:
        txn[Things].insert((1, 2))
    assert list(db.snapshot()[Things]) == [1]


class Zone(msgspec.Struct, frozen=True, order=True):
    name: str


class Zones(Table[Zone, Zone], name="zones"):
    primary = UniqueIndex[Zone, Zone](lambda zone: zone)


def test_a_compound_key_of_one_field_is_compound_all_the_same():
    db = Database(Zones)
    with db.write(Zones) as txn:
        for name in ("b", "a", "ab"):
            txn[Zones].insert(Zone(name))
        with pytest.raises(InvalidKey, match="one type"):
            txn[Zones].insert(Zone(1))
    view = db.snapshot()[Zones]
    assert [zone.name for zone in view] == ["a", "ab", "b"]
    assert view.prefix(("a",)) == view.prefix(Zone("a")) == (Zone("a"),)  # a field matches whole
    watch = view.watch_prefix(("a",))
    with db.write(Zones) as txn:
        txn[Zones].delete(Zone("ab"))
    assert not watch.tripped
    with db.write(Zones) as txn:
        txn[Zones].delete(Zone("a"))
    assert watch.tripped
