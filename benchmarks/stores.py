"""Our engine, and what a user could pick instead, each as a store of the same rows: it writes and answers, no more.

Knows nothing of how they are timed. Every answer is a list of rows, so that they can be compared.
"""

from __future__ import annotations

import importlib
import importlib.util
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import msgspec

from statedb import Database, Snapshot, Table, UniqueIndex

from .limit import OfRows, OtherRows, Row, Rows, delete_in, write_in


class Named(msgspec.Struct, frozen=True, gc=False):
    """A row with a second key of its own."""

    id: str
    name: str


class Names(Table[str, Named], name="names"):
    """Two keys, both unique."""

    primary = UniqueIndex[str, Named](lambda row: row.id)
    by_name = UniqueIndex[str, Named](lambda row: row.name)


def make_names(rows: list[Row]) -> list[Named]:
    """A name for each row, in their order."""
    return [Named(row.id, f"name-of-{row.id}") for row in rows]


class State(Protocol):
    """What can be asked: the newest state, or one that is held."""

    def get(self, keys: list[str]) -> list[Row]:
        """The row of every key that is there."""
        ...

    def of_nodes(self, nodes: list[str]) -> list[Row]:
        """The rows of every node, each node's in key order."""
        ...

    def iterate(self) -> list[Row]:
        """All rows in key order."""
        ...


class Store(State, Protocol):
    """A table of rows with two secondary indexes, and one of names. Empty when it is made."""

    def write(self, rows: list[Row], batch: int) -> None:
        """Insert or replace rows, in transactions of so many."""
        ...

    def delete(self, keys: list[str], batch: int) -> None:
        """Delete rows, in transactions of so many."""
        ...

    def write_names(self, names: list[Named]) -> None:
        """Insert names, in one transaction."""
        ...

    def by_name(self, names: list[str]) -> list[Named]:
        """The row of every name."""
        ...

    def prefix(self, prefixes: list[str]) -> list[Row]:
        """The rows under every prefix of the key, in key order."""
        ...

    def commit_nothing(self, count: int) -> None:
        """So many transactions that write nothing."""
        ...

    def take_snapshots(self, count: int) -> None:
        """So many snapshots, none of them kept."""
        ...

    def hold(self) -> State:
        """The state of this moment, which stays as it is."""
        ...


class Engine:
    """Ours."""

    def __init__(self, db: Database | None = None, table: OfRows = Rows) -> None:
        """Empty; in a database of its own, or a table of one that another store made."""
        self.db = Database(Rows, OtherRows, Names) if db is None else db
        self._table: OfRows = table

    def write(self, rows: list[Row], batch: int) -> None:
        """In transactions."""
        write_in(self.db, rows, batch, self._table)

    def delete(self, keys: list[str], batch: int) -> None:
        """In transactions."""
        delete_in(self.db, keys, batch)

    def write_names(self, names: list[Named]) -> None:
        """In one transaction."""
        with self.db.write(Names) as txn:
            for row in names:
                txn[Names].insert(row)

    def get(self, keys: list[str]) -> list[Row]:
        """Of one snapshot."""
        return self.hold().get(keys)

    def of_nodes(self, nodes: list[str]) -> list[Row]:
        """Of one snapshot."""
        return self.hold().of_nodes(nodes)

    def iterate(self) -> list[Row]:
        """Of one snapshot."""
        return self.hold().iterate()

    def by_name(self, names: list[str]) -> list[Named]:
        """Of one snapshot."""
        find = self.db.snapshot()[Names.by_name].get
        return [row for name in names if (row := find(name)) is not None]

    def prefix(self, prefixes: list[str]) -> list[Row]:
        """Of one snapshot."""
        find, found = self.db.snapshot()[Rows].prefix, list[Row]()
        for prefix in prefixes:
            found += find(prefix)
        return found

    def commit_nothing(self, count: int) -> None:
        """They lock the table, and let it go again."""
        for _ in range(count):
            with self.db.write(Rows):
                pass

    def take_snapshots(self, count: int) -> None:
        """Of all tables."""
        for _ in range(count):
            self.db.snapshot()

    def hold(self) -> State:
        """A snapshot."""
        return _EngineState(self.db.snapshot(), self._table)


class _EngineState:
    """A snapshot of ours; what its readers remember while it is the newest, it forgets with the next commit."""

    def __init__(self, snapshot: Snapshot, table: OfRows) -> None:
        """Held from here on."""
        self._snapshot = snapshot
        self._table: OfRows = table

    def get(self, keys: list[str]) -> list[Row]:
        """With the view bound once."""
        find = self._snapshot[self._table].get
        return [row for key in keys if (row := find(key)) is not None]

    def of_nodes(self, nodes: list[str]) -> list[Row]:
        """With the view bound once."""
        by_node, found = self._snapshot[self._table.by_node], list[Row]()
        for node in nodes:
            found += by_node[node]
        return found

    def iterate(self) -> list[Row]:
        """In key order as it is."""
        return list(self._snapshot[self._table].values())


class Sqlite:
    """sqlite3 in memory, a column for each field, an index for each of ours. Answers are made into rows again."""

    def __init__(self) -> None:
        """Empty."""
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.execute("create table rows (id text primary key, node text, identity text, revision int, state text)")
        self._db.execute("create index by_node on rows (node)")
        self._db.execute("create index by_identity on rows (identity)")
        self._db.execute("create table names (id text primary key, name text unique)")

    def __del__(self) -> None:
        """Close the connection: from Python 3.13 on one that is dropped open is warned of."""
        self._db.close()

    def write(self, rows: list[Row], batch: int) -> None:
        """In transactions."""
        for start in range(0, len(rows), batch):
            values = [(r.id, r.node, r.identity, r.revision, r.state) for r in rows[start : start + batch]]
            self._transaction("insert or replace into rows values (?, ?, ?, ?, ?)", values)

    def delete(self, keys: list[str], batch: int) -> None:
        """In transactions."""
        for start in range(0, len(keys), batch):
            self._transaction("delete from rows where id = ?", [(key,) for key in keys[start : start + batch]])

    def write_names(self, names: list[Named]) -> None:
        """In one transaction."""
        self._transaction("insert into names values (?, ?)", [(row.id, row.name) for row in names])

    def _transaction(self, command: str, values: list[Any]) -> None:
        self._db.execute("begin")
        self._db.executemany(command, values)
        self._db.execute("commit")

    def get(self, keys: list[str]) -> list[Row]:
        """A query for each."""
        return self._rows("select * from rows where id = ?", keys)

    def of_nodes(self, nodes: list[str]) -> list[Row]:
        """A query for each."""
        return self._rows("select * from rows where node = ? order by id", nodes)

    def _rows(self, question: str, keys: list[str]) -> list[Row]:
        return [Row(*found) for key in keys for found in self._db.execute(question, (key,))]

    def iterate(self) -> list[Row]:
        """One query."""
        return [Row(*found) for found in self._db.execute("select * from rows order by id")]

    def by_name(self, names: list[str]) -> list[Named]:
        """A query for each."""
        question = "select * from names where name = ?"
        return [Named(*found) for name in names for found in self._db.execute(question, (name,))]

    def prefix(self, prefixes: list[str]) -> list[Row]:
        """A query for each, of a range: from the prefix to the prefix and the last character there is."""
        question = "select * from rows where id >= ? and id < ? order by id"
        return [Row(*found) for p in prefixes for found in self._db.execute(question, (p, f"{p}\U0010ffff"))]

    def commit_nothing(self, count: int) -> None:
        """They are begun as writers."""
        for _ in range(count):
            self._db.execute("begin immediate")
            self._db.execute("commit")


class PersistentMaps:
    """Persistent maps, replaced together by every transaction; sets of keys in those of the indexes."""

    def __init__(self, empty: Any) -> None:
        """``empty`` is a map with ``mutate`` or ``evolver`` (Any: of whichever package)."""
        self._maps: tuple[Any, Any, Any] = (empty, empty, empty)
        self._names: tuple[Any, Any] = (empty, empty)

    def write(self, rows: list[Row], batch: int) -> None:
        """A transaction is the new maps put in the place of the old ones."""
        for start in range(0, len(rows), batch):
            by_key, by_node, by_identity = map(_Builder, self._maps)
            for row in rows[start : start + batch]:
                old = by_key.get(row.id)
                by_key.set(row.id, row)
                _move(by_node, row.id, None if old is None else old.node, row.node)
                _move(by_identity, row.id, None if old is None else old.identity, row.identity)
            self._maps = (by_key.finish(), by_node.finish(), by_identity.finish())

    def delete(self, keys: list[str], batch: int) -> None:
        """A transaction is the new maps put in the place of the old ones."""
        for start in range(0, len(keys), batch):
            by_key, by_node, by_identity = map(_Builder, self._maps)
            for key in keys[start : start + batch]:
                old = by_key.get(key)
                by_key.delete(key)
                _move(by_node, key, old.node, None)
                _move(by_identity, key, old.identity, None)
            self._maps = (by_key.finish(), by_node.finish(), by_identity.finish())

    def write_names(self, names: list[Named]) -> None:
        """In one transaction."""
        by_key, by_name = map(_Builder, self._names)
        for row in names:
            by_key.set(row.id, row)
            by_name.set(row.name, row.id)
        self._names = (by_key.finish(), by_name.finish())

    def get(self, keys: list[str]) -> list[Row]:
        """Of one state."""
        return self.hold().get(keys)

    def of_nodes(self, nodes: list[str]) -> list[Row]:
        """Of one state."""
        return self.hold().of_nodes(nodes)

    def iterate(self) -> list[Row]:
        """Of one state."""
        return self.hold().iterate()

    def by_name(self, names: list[str]) -> list[Named]:
        """Of one state, by way of the primary key, as an index must that follows its rows."""
        by_key, by_name = self._names
        return [by_key[key] for name in names if (key := by_name.get(name)) is not None]

    def commit_nothing(self, count: int) -> None:
        """The maps are opened for change and closed again."""
        for _ in range(count):
            by_key, by_node, by_identity = map(_Builder, self._maps)
            self._maps = (by_key.finish(), by_node.finish(), by_identity.finish())

    def take_snapshots(self, count: int) -> None:
        """The maps are their own snapshots."""
        for _ in range(count):
            _ = self._maps

    def hold(self) -> State:
        """The maps as they are."""
        return _MapsState(*self._maps)


class _MapsState:
    """One state of the maps."""

    def __init__(self, by_key: Any, by_node: Any, _: Any) -> None:
        """Maps of whichever package (Any)."""
        self._by_key = by_key
        self._by_node = by_node

    def get(self, keys: list[str]) -> list[Row]:
        """A lookup for each."""
        find = self._by_key.get
        return [row for key in keys if (row := find(key)) is not None]

    def of_nodes(self, nodes: list[str]) -> list[Row]:
        """Sorted when asked for."""
        by_key, by_node = self._by_key, self._by_node
        return [by_key[key] for node in nodes for key in sorted(by_node[node])]

    def iterate(self) -> list[Row]:
        """Sorted when asked for."""
        by_key = self._by_key
        return [by_key[key] for key in sorted(by_key)]


class _Builder:
    """A persistent map under change, by the one name for two packages' ways."""

    def __init__(self, of: Any) -> None:
        """``of`` is the map to begin with."""
        self._change = of.mutate() if hasattr(of, "mutate") else of.evolver()
        self.finish = self._change.finish if hasattr(of, "mutate") else self._change.persistent
        self.get = self._change.get if hasattr(self._change, "get") else self._look
        self.set = self._change.set
        self.delete = self._change.__delitem__

    def _look(self, key: str) -> Any:
        try:
            return self._change[key]
        except KeyError:
            return None


def _move(index: _Builder, key: str, old: str | None, new: str | None) -> None:
    """Take a key out of the old entry, which goes when it is empty, and put it into the new one."""
    if old == new:
        return
    if old is not None:
        if left := index.get(old) - {key}:
            index.set(old, left)
        else:
            index.delete(old)
    if new is not None:
        index.set(new, (index.get(new) or frozenset()) | {key})


class Littletable:
    """A littletable table with indexes of the same fields. It has no transactions; a batch is one call."""

    def __init__(self, table: Callable[[str], Any]) -> None:
        """``table`` is the package's class (Any: it is untyped)."""
        self._rows = table("rows").create_index("id", unique=True).create_index("node").create_index("identity")
        self._names = table("names").create_index("id", unique=True).create_index("name", unique=True)

    def write(self, rows: list[Row], batch: int) -> None:
        """New rows only: it replaces by removing, for which it looks through all rows."""
        for start in range(0, len(rows), batch):
            self._rows.insert_many(rows[start : start + batch])

    def write_names(self, names: list[Named]) -> None:
        """In one call."""
        self._names.insert_many(names)

    def get(self, keys: list[str]) -> list[Row]:
        """By its unique index."""
        find = self._rows.by.id.get
        return [row for key in keys if (row := find(key)) is not None]

    def of_nodes(self, nodes: list[str]) -> list[Row]:
        """By its index, sorted when asked for."""
        by_node = self._rows.by.node
        return [row for node in nodes for row in sorted(by_node[node], key=_id_of)]

    def iterate(self) -> list[Row]:
        """Sorted when asked for."""
        return sorted(self._rows, key=_id_of)

    def by_name(self, names: list[str]) -> list[Named]:
        """By its unique index."""
        find = self._names.by.name.get
        return [row for name in names if (row := find(name)) is not None]


def _id_of(row: Row) -> str:
    return row.id


class Shareable(Protocol):
    """As much of a Store as several threads need."""

    def write(self, rows: list[Row], batch: int) -> None:
        """Insert or replace rows, in transactions of so many."""
        ...

    def get(self, keys: list[str]) -> list[Row]:
        """The row of every key that is there."""
        ...

    def iterate(self) -> list[Row]:
        """All rows in key order."""
        ...


class Guarded:
    """A store for several threads by one lock: every transaction takes it, and every read where a store is not its own
    snapshot."""

    def __init__(self, store: Shareable, *, readers_too: bool) -> None:
        """``store`` belongs to this one from now on."""
        self._store = store
        self._lock = threading.Lock()
        self._readers_too = readers_too

    def write(self, rows: list[Row], batch: int) -> None:
        """Lock for each transaction."""
        for start in range(0, len(rows), batch):
            with self._lock:
                self._store.write(rows[start : start + batch], batch)

    def get(self, keys: list[str]) -> list[Row]:
        """All keys of one state."""
        if not self._readers_too:
            return self._store.get(keys)
        with self._lock:
            return self._store.get(keys)

    def iterate(self) -> list[Row]:
        """All rows, when no thread is at work."""
        return self._store.iterate()


def others() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name and maker of each store beside ours; whose package is not installed is left out (Any: a Store, or as much of
    one as can be had)."""
    yield "sqlite3", Sqlite
    for package, name in (("immutables", "Map"), ("pyrsistent", "pmap")):
        if importlib.util.find_spec(package) is not None:
            yield package, partial(_maps, getattr(importlib.import_module(package), name))
    if importlib.util.find_spec("littletable") is not None:
        yield "littletable", partial(Littletable, importlib.import_module("littletable").Table)


def _maps(empty: Callable[[], Any]) -> PersistentMaps:
    return PersistentMaps(empty())
