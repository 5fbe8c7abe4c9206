"""The rows that are measured, and the limit: the same rows in one dict and two dicts of sets, by hand.

No transaction, no history, no watches, no checks, no declared indexes. Ratios to it are the figures.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, cast

import msgspec

from statedb import Database, Index, Table, UniqueIndex


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row like an endpoint's: where it is, who it is, and what is said of it."""

    id: str
    node: str
    identity: str
    revision: int = 0
    state: str = "ready"


class Rows(Table[str, Row], name="rows"):
    """Two secondary indexes: a thousand nodes at most, and about four rows for each identity."""

    primary = UniqueIndex[str, Row](lambda row: row.id)
    by_node = Index[str, Row](lambda row: (row.node,))
    by_identity = Index[str, Row](lambda row: (row.identity,))


class OtherRows(Table[str, Row], name="other_rows"):
    """As Rows, for what needs two tables."""

    primary = UniqueIndex[str, Row](lambda row: row.id)
    by_node = Index[str, Row](lambda row: (row.node,))
    by_identity = Index[str, Row](lambda row: (row.identity,))


OfRows: TypeAlias = type[Rows] | type[OtherRows]

_KEY_OF = cast(Callable[[Row], str], Rows.primary.key)


def make_rows(count: int, revision: int = 0, *, scattered: bool = False) -> list[Row]:
    """So many rows, in an order that is nobody's friend, always the same; new objects each time, as from a decoder.

    They lie in memory in the order in which they are given; scattered, in the order of their keys. It does not change
    what a row is, and a walk over scattered ones takes about twice the time, so the plain dicts lose more than we do.
    """
    nodes, identities = min(1000, max(1, count // 10)), max(1, count // 4)
    numbers = list(range(count))
    random.Random(1).shuffle(numbers)
    rows = [
        Row(f"pod-{n:07d}", f"node-{n % nodes:05d}", f"identity-{n % identities:06d}", revision)
        for n in (range(count) if scattered else numbers)
    ]
    return [rows[n] for n in numbers] if scattered else rows


class Limit:
    """The plain dicts, by hand: this row class and these two indexes written out, nothing called for a row's keys."""

    def __init__(self) -> None:
        """Empty."""
        self.rows: dict[str, Row] = {}
        self.by_node: dict[str, set[str]] = {}
        self.by_identity: dict[str, set[str]] = {}

    def insert(self, rows: list[Row]) -> None:
        """Put new rows in."""
        by_key, by_node, by_identity = self.rows, self.by_node, self.by_identity
        for row in rows:
            key = row.id
            by_key[key] = row
            keys = by_node.get(row.node)
            if keys is None:
                by_node[row.node] = {key}
            else:
                keys.add(key)
            keys = by_identity.get(row.identity)
            if keys is None:
                by_identity[row.identity] = {key}
            else:
                keys.add(key)

    def replace(self, rows: list[Row]) -> None:
        """Put rows over those with their keys; the indexes move where a row's index keys changed."""
        by_key, by_node, by_identity = self.rows, self.by_node, self.by_identity
        for row in rows:
            key = row.id
            old = by_key[key]
            by_key[key] = row
            if old.node != row.node:
                _move(by_node, key, (old.node,), (row.node,))
            if old.identity != row.identity:
                _move(by_identity, key, (old.identity,), (row.identity,))


class CallingLimit(Limit):
    """The plain dicts for any table: they call the table's key functions, as the engine must.

    No target refers to it. It shows how much of a ratio is the price of declared indexes, not of transactions.
    """

    def insert(self, rows: list[Row]) -> None:
        """Put new rows in."""
        key_of, nodes_of, identities_of = _KEY_OF, Rows.by_node.keys, Rows.by_identity.keys
        by_key, by_node, by_identity = self.rows, self.by_node, self.by_identity
        for row in rows:
            key = key_of(row)
            by_key[key] = row
            for node in nodes_of(row):
                by_node.setdefault(node, set()).add(key)
            for identity in identities_of(row):
                by_identity.setdefault(identity, set()).add(key)

    def replace(self, rows: list[Row]) -> None:
        """Put rows over those with their keys; the indexes move where a row's index keys changed."""
        key_of, nodes_of, identities_of = _KEY_OF, Rows.by_node.keys, Rows.by_identity.keys
        by_key, by_node, by_identity = self.rows, self.by_node, self.by_identity
        for row in rows:
            key = key_of(row)
            old = by_key[key]
            by_key[key] = row
            before, after = nodes_of(old), nodes_of(row)
            if before != after:
                _move(by_node, key, before, after)
            before, after = identities_of(old), identities_of(row)
            if before != after:
                _move(by_identity, key, before, after)


def _move(index: dict[str, set[str]], key: str, before: Iterable[str], after: Iterable[str]) -> None:
    for each in before:
        index[each].discard(key)
    for each in after:
        index.setdefault(each, set()).add(key)


def with_revision(rows: list[Row], revision: int) -> list[Row]:
    """The same rows with another revision, sharing the key strings of the old ones."""
    return [Row(row.id, row.node, row.identity, revision) for row in rows]


def moved(rows: list[Row], places: int) -> list[Row]:
    """The same rows, each with the node of the one so many places further on: rows whose index key moves."""
    nodes = [row.node for row in rows]
    places %= len(rows)
    return [
        msgspec.structs.replace(row, node=node) for row, node in zip(rows, nodes[places:] + nodes[:places], strict=True)
    ]


def changes_of(rows: int, changes: int) -> Iterator[list[Row]]:
    """Lists of changed rows, so many changes in all: no row is twice in a list, and none equals the one before."""
    for lap, start in enumerate(range(0, changes, rows), 1):
        yield make_rows(rows, lap)[: changes - start]


def filled(rows: list[Row]) -> Database:
    """A database that holds the rows."""
    db = Database(Rows)
    with db.write(Rows) as txn:
        txn[Rows].insert_all(rows)
    return db


def write_at_once(db: Database, rows: list[Row], batch: int) -> None:
    """Insert the rows in transactions of so many, each with one call."""
    for start in range(0, len(rows), batch):
        with db.write(Rows) as txn:
            txn[Rows].insert_all(rows[start : start + batch])


def write_in(db: Database, rows: list[Row], batch: int, table: OfRows = Rows) -> None:
    """Insert the rows in transactions of so many."""
    for start in range(0, len(rows), batch):
        with db.write(table) as txn:
            writer = txn[table]
            for row in rows[start : start + batch]:
                writer.insert(row)


def delete_in(db: Database, keys: list[str], batch: int) -> None:
    """Delete the rows of these keys in transactions of so many."""
    for start in range(0, len(keys), batch):
        with db.write(Rows) as txn:
            writer = txn[Rows]
            for key in keys[start : start + batch]:
                writer.delete(key)
