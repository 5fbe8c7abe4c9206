"""Many rows in one call: what as many calls of ``insert`` do, all or none."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from statedb import (
    Database,
    DuplicateKey,
    Index,
    IndexFunctionError,
    InvalidKey,
    InvalidRow,
    PrefixIndex,
    Table,
    UniqueIndex,
)
from statedb.engine.writer import TableWriter

from ._helpers import Host, Hosts


class Pod(msgspec.Struct, frozen=True, gc=False):
    name: Any
    node: Any = ""
    labels: Any = ()


class Pods(Table[Any, Pod], name="pods"):
    primary = UniqueIndex[Any, Pod](lambda pod: pod.name)
    by_node = Index[Any, Pod](lambda pod: (pod.node,))
    by_label = Index[Any, Pod](lambda pod: pod.labels)  # lists and generators are taken as well


class Bare(Table[str, str], name="bare"):
    primary = UniqueIndex[str, str](lambda text: text)


def state(txn: Any) -> Any:
    """All that a transaction shows of the pods."""
    pods = txn[Pods]
    lists = [txn[Pods.by_node].range(), txn[Pods.by_label].range()]
    return [(pods.entry(key), key) for key in pods], len(pods), pods.revision, lists


def outcome(insert: Any) -> Any:
    """What it returned, or the class of what it raised."""
    try:
        return insert()
    except (DuplicateKey, InvalidKey, InvalidRow, IndexFunctionError) as error:
        return type(error)


pods = st.builds(
    Pod,
    st.sampled_from("abcdef") | st.sampled_from([("a", 1), None, 1.5]),
    st.sampled_from("xyz") | st.sampled_from([1, ("x",)]),
    st.lists(st.sampled_from("kl")) | st.lists(st.sampled_from("kl")).map(tuple) | st.just(0),
)


@given(st.lists(pods, max_size=4), st.lists(pods, max_size=4), st.lists(pods, max_size=6))
def test_it_is_as_many_inserts_and_all_or_none(before, staged, rows):
    one, other = Database(Pods), Database(Pods)
    for db in (one, other):
        with db.write(Pods) as txn:
            for row in before:
                outcome(lambda row=row, txn=txn: txn[Pods].insert(row))
    with one.write(Pods) as txn, other.write(Pods) as reference:
        for row in staged:
            outcome(lambda row=row: txn[Pods].insert(row))
            outcome(lambda row=row: reference[Pods].insert(row))
        as_was = state(txn)
        done = outcome(lambda: txn[Pods].insert_all(rows))
        if isinstance(done, int):
            revision = reference[Pods].revision
            for row in rows:
                reference[Pods].insert(row)
            assert done == reference[Pods].revision - revision
            assert state(txn) == state(reference)
        else:
            assert state(txn) == as_was
            assert done in [outcome(lambda row=row: reference[Pods].insert(row)) for row in rows]
    one.check()


class Server(msgspec.Struct, frozen=True, gc=False):
    name: str
    serial: Any = 0
    labels: Any = ()
    networks: Any = ()
    room: Any = ("hall", 1)


class Servers(Table[str, Server], name="servers"):
    primary = UniqueIndex[str, Server](lambda server: server.name)
    by_serial = UniqueIndex[Any, Server](lambda server: server.serial)
    by_label = Index[Any, Server](lambda server: server.labels)
    by_network = PrefixIndex[Any, Server](lambda server: server.networks)
    by_room = Index[Any, Server](lambda server: (server.room,))


ADDRESS = IPv4Address("10.0.0.1")
CHANGES: dict[str, tuple[list[Any], list[Any]]] = {
    "serial": ([*range(10)], [True]),
    "labels": ([(), ("k",), ("l",), ("k", "l"), ["k"]], [("k", 1), "k"]),
    "networks": (
        [(), ("10.0.0.1",), ("10.0.0.1", "10.0.0.0/8"), (ADDRESS,), ["10.0.0.1"]],
        [("nonsense",), "10.0.0.1"],
    ),
    "room": ([("hall", 1), ("roof", 1)], [("hall", True), ("hall", 1, 2), "hall"]),
}
"""What a field may be changed to: values that the table takes, and odd ones, which it refuses or which equal others."""
PLACES = range(6)


def changes_of(fields: set[str], odd: set[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Values of these fields."""
    chosen = {each: [*usual, *(unusual if each in odd else ())] for each, (usual, unusual) in CHANGES.items()}
    return st.fixed_dictionaries({each: st.sampled_from(chosen[each]) for each in sorted(fields)})


def servers_of(snapshot: Any) -> Any:
    """All that a snapshot shows of the servers."""
    servers = snapshot[Servers]
    indexes = (Servers.by_serial, Servers.by_label, Servers.by_network, Servers.by_room)
    return [servers.entry(key) for key in servers], [list(snapshot[index].items()) for index in indexes]


names = st.sets(st.sampled_from(sorted(CHANGES)))
places = st.lists(st.sampled_from(PLACES), min_size=4, max_size=6)


@given(st.data(), places | places.map(dict.fromkeys).map(list), names, st.just(set[str]()) | names)
def test_rows_over_rows_are_as_many_inserts(data, places, fields, odd):
    one, other = Database(Servers), Database(Servers)
    before = [Server(f"{place}", place, ("k",), ("10.0.0.1",)) for place in PLACES]
    for db in (one, other):
        with db.write(Servers) as txn:
            txn[Servers].insert_all(before)
    rows = [msgspec.structs.replace(before[place], **data.draw(changes_of(fields, odd))) for place in places]
    held = one.snapshot()
    as_was = servers_of(held)
    with one.write(Servers) as txn, other.write(Servers) as reference:
        done = outcome(lambda: txn[Servers].insert_all(rows))
        wanted = [outcome(lambda row=row: reference[Servers].insert(row)) for row in rows]
        refused = [each for each in wanted if isinstance(each, type)]
        assert done in refused if refused else done == reference[Servers].revision - len(PLACES)
        if refused:
            reference.abort()
    one.check()
    assert servers_of(one.snapshot()) == servers_of(other.snapshot())
    assert servers_of(held) == as_was  # an old snapshot reads through what the commit undoes


def test_the_number_is_of_those_that_were_written():
    db = Database(Pods)
    with db.write(Pods) as txn:
        assert txn[Pods].insert_all([]) == 0
        assert txn[Pods].insert_all([Pod("a"), Pod("b")]) == 2
        assert txn[Pods].insert_all([Pod("a"), Pod("b", "n"), Pod("c")]) == 2
        assert [txn[Pods].entry(key).revision for key in "abc"] == [1, 3, 4]


def test_the_last_of_those_with_one_key_stays():
    db = Database(Pods)
    with db.write(Pods) as txn:
        assert txn[Pods].insert_all([Pod("a", "x"), Pod("a", "y")]) == 2
    assert db.snapshot()[Pods]["a"].node == "y"
    assert db.snapshot()[Pods.by_node]["x"] == ()


def test_a_table_without_other_indexes_takes_them_too():
    db = Database(Bare)
    with db.write(Bare) as txn:
        assert txn[Bare].insert_all(["a"]) == 1
        assert txn[Bare].insert_all(["c", "b"]) == 2
    assert list(db.snapshot()[Bare]) == ["a", "b", "c"]


def test_unique_keys_are_guarded():
    db = Database(Hosts)
    with db.write(Hosts) as txn:
        txn[Hosts].insert(Host("a", "1"))
        with pytest.raises(DuplicateKey, match="'1' belongs to row 'a'"):
            txn[Hosts].insert_all([Host("b", "2"), Host("c", "1")])
        assert list(txn[Hosts]) == ["a"]
        assert txn[Hosts].insert_all([Host("b", "2"), Host("c", "3")]) == 2


def test_an_iterator_that_raises_leaves_the_transaction_as_it_was():
    def rows() -> Iterator[Pod]:
        yield Pod("a")
        raise ZeroDivisionError

    with Database(Pods).write(Pods) as txn:
        with pytest.raises(ZeroDivisionError):
            txn[Pods].insert_all(rows())
        assert len(txn[Pods]) == 0


def test_the_refused_row_is_named():
    with Database(Pods).write(Pods) as txn:
        txn[Pods].insert(Pod("a"))
        with pytest.raises(InvalidKey, match=r"name=7"):
            txn[Pods].insert_all([Pod("b"), Pod(7), Pod("c")])
        with pytest.raises(InvalidRow, match="not str: 'text'"):
            txn[Pods].insert_all([Pod("b"), "text"])  # type: ignore[list-item]


@pytest.mark.parametrize("there", [True, False], ids=["over rows", "new rows"])
def test_many_rows_of_one_sort_are_not_staged_one_by_one(monkeypatch, there):
    """What the short way cannot do goes the long way without a word, so that a mistake in it would only cost time."""
    db = Database(Servers)
    names = ["a", "b", "c", "d"]
    with db.write(Servers) as txn:
        txn[Servers].insert_all([Server(f"{n}{'' if there else '-'}", n, ("k",), ("10.0.0.1",)) for n in names])
    rows = [Server(n, n if there else f"{n}-", ("l",), ("10.0.0.1",), ("roof", 2)) for n in names]
    with db.write(Servers) as txn:
        monkeypatch.setattr(TableWriter, "_insert_each", None)
        assert txn[Servers].insert_all(rows) == 4
    db.check()
    assert db.snapshot()[Servers.by_label]["l"] == tuple(rows)
