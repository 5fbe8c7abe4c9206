"""Compares an engine with a model by running all possible reads on both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from itertools import pairwise
from typing import Any

from statedb.engine.database import Database
from statedb.engine.errors import RowNotFound
from statedb.engine.keys import fields_of
from statedb.engine.row_change import Change
from statedb.engine.schema import AnyIndex, PrefixIndex, Table, TextPrefixIndex, UniqueIndex

AnyTable = type[Table[Any, Any]]
Probes = dict[str, list[Any]]
"""Index name -> the keys to look up, present or not, in order."""

_BOUNDS = ("[]", "(]", "()")
_EVERYTHING = ("0.0.0.0/0", "::/0")


def check_invariants(database: Database) -> None:
    """Check the internal structures of the engine. Raises AssertionError, which names the table and the fault.

    It is slow. It may be called at any time, from any thread.
    """
    database.check()


def fold(changes: Iterable[Change[Any]], into: MutableMapping[Any, Any], table: AnyTable) -> None:
    """Apply a batch of changes to a mapping of primary key to row.

    Raises AssertionError for an impossible batch: changes out of revision order, a row twice, or the deletion of a row
    that the mapping does not have.
    """
    seen: set[Any] = set()
    last = 0
    for change in changes:
        key = table.key_of(change.row)
        assert change.revision > last, f"revision {change.revision} comes after {last}"
        assert key not in seen, f"row {key!r} comes twice in one batch"
        assert change.old is None or change.old == into.get(key), (
            f"row {key!r} was {into.get(key)!r}, not {change.old!r}"
        )
        seen.add(key)
        last = change.revision
        if change.deleted:
            assert key in into, f"row {key!r} is deleted, but was never inserted"
            del into[key]
        else:
            into[key] = change.row


def probes_of(table: AnyTable, rows: Iterable[Any]) -> Probes:
    """The keys of these rows in each index of their table, for ``observe``."""
    rows = list(rows)
    probes: Probes = {}
    for name, index in table.indexes.items():
        if isinstance(index, PrefixIndex):
            probes[name] = list(dict.fromkeys([network for row in rows for network in index.networks(row)]))
        else:
            probes[name] = sorted({key for row in rows for key in index.keys_of(row)})
    return probes


def observe(view: Any, table: AnyTable, probes: Probes) -> dict[str, Any]:
    """The results of all possible reads of one table and its indexes.

    ``view`` is a snapshot or an open transaction of an engine or a model. Two observations with the same probes are
    equal if the states are equal.
    """
    answers: dict[str, Any] = dict(_of_rows(view[table], probes["primary"]))
    for name, index in list(table.indexes.items()):
        asked = _of_networks if isinstance(index, PrefixIndex) else _of_keys
        for question, answer in asked(view[index], probes[name], index):
            answers[f"{name}.{question}"] = answer
    return answers


def assert_same(view: Any, model: Any, *tables: AnyTable, rows: Mapping[AnyTable, Iterable[Any]] | None = None) -> None:
    """Assert that all reads of a snapshot or open transaction give the same results for an engine and a model.

    Compares these tables, or by default all tables of the model. The keys of the model's rows are looked up, and those
    of the additional ``rows`` of each table, whether they are present or not.
    """
    for table in tables or tuple(model):
        further = rows.get(table, ()) if rows is not None else ()
        probes = probes_of(table, [*model[table].values(), *further])
        assert_equal(observe(view, table, probes), observe(model, table, probes), table)


def assert_equal(found: dict[str, Any], expected: dict[str, Any], table: AnyTable) -> None:
    """Assert that two observations are equal. The message names each read with a different result."""
    if found == expected:
        return
    wrong = [
        f"{question}: is {found.get(question)!r}, should be {expected.get(question)!r}"
        for question in expected | found
        if found.get(question) != expected.get(question)
    ]
    raise AssertionError(f"table {table.name!r}\n  " + "\n  ".join(wrong))


def _of_rows(view: Any, probes: list[Any]) -> Iterator[tuple[str, Any]]:
    yield "keys", list(view)
    yield "reversed", list(reversed(view))
    yield "ends", (view.first(), view.last())
    yield "all entries", view.entries()
    yield "values", list(view.values())
    yield "items", list(view.items())
    yield "len", len(view)
    yield "revision", view.revision
    yield "initialized", (view.initialized, view.pending_initializers)
    yield "entries", [view.entry(key) for key in probes]
    yield "get", [view.get(key) for key in probes]
    yield "in", [key in view for key in probes]
    yield from _of_ranges(view, probes)
    for position in range(4):
        yield f"key_at({position})", view.key_at(position)
    revision = view.revision
    for since in sorted({0, revision // 2, revision - 3, revision - 1, revision}):
        yield f"since({since})", view.since(since)


def _of_ranges(view: Any, probes: list[Any]) -> Iterator[tuple[str, Any]]:
    edges = [(None, None), *pairwise(probes)]
    if probes:
        first, middle, last = probes[0], probes[len(probes) // 2], probes[-1]
        edges += [(middle, None), (None, middle), (first, last), (last, first)]
    for number, (start, stop) in enumerate(edges):
        bounds = _BOUNDS[number % len(_BOUNDS)]
        yield f"range({start!r}, {stop!r})", view.range(start, stop)
        yield f"range({start!r}, {stop!r}, {bounds}), reverse", view.range(start, stop, bounds=bounds, reverse=True)
    for limit in range(4):
        yield f"range(limit={limit})", view.range(limit=limit)
        yield f"the last {limit}", view.range(limit=limit, reverse=True)
        if probes:
            middle = probes[len(probes) // 2]
            yield f"range(middle, limit={limit})", view.range(middle, limit=limit)
            yield f"the last {limit} up to middle", view.range(None, middle, limit=limit, reverse=True, bounds="[]")
    for number, prefix in enumerate(_prefixes(probes)):
        yield f"prefix({prefix!r})", view.prefix(prefix, reverse=number % 2 == 1)


def _prefixes(probes: list[Any]) -> list[Any]:
    """Each key, its leading parts, and the prefix of everything."""
    found: dict[Any, None] = {}
    for key in probes:
        leading = key if isinstance(key, (str, bytes)) else fields_of(key)
        if leading is not None:
            found.update(dict.fromkeys([leading[:size] for size in range(len(leading) + 1)]))
            found[key] = None
    return list(found)


def _of_keys(view: Any, probes: list[Any], index: AnyIndex[Any, Any]) -> Iterator[tuple[str, Any]]:
    yield "keys", view.keys()
    yield "iterated", (list(view), list(reversed(view)), len(view))
    yield "as a mapping", (view.values(), view.items(), dict(view))
    yield "in", [key in view for key in probes]
    yield "get", [view.get(key) for key in probes]
    yield "[]", [_item(view, key) for key in probes]
    if isinstance(index, TextPrefixIndex):
        for text in [*probes, *[key + key for key in probes]]:
            yield f"longest({text!r})", view.longest(text)
            yield f"covering({text!r})", view.covering(text)
    if isinstance(index, UniqueIndex):
        yield "default", [view.get(key, "none") for key in probes]
    yield from _of_ranges(view, probes)


def _item(view: Any, key: Any) -> Any:
    try:
        return view[key]
    except RowNotFound:
        return "RowNotFound"


def _of_networks(view: Any, probes: list[Any], _: AnyIndex[Any, Any]) -> Iterator[tuple[str, Any]]:
    yield "keys", view.keys()
    yield "iterated", (list(view), list(reversed(view)), len(view))
    yield "as a mapping", (view.values(), view.items(), dict(view))
    for network in [*probes, *_EVERYTHING]:
        yield f"get({network!r})", (network in view, view[network], view.get(network))
        yield f"longest({network!r})", view.longest(network)
        yield f"covering({network!r})", view.covering(network)
        yield f"within({network!r})", view.within(network)
