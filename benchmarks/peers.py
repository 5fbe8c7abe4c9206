"""What a user could pick instead, on the same rows in the same run: sqlite3 in memory, and persistent maps.

They do not offer the same: sqlite3 has transactions and indexes, and no snapshots without copying; persistent maps have
snapshots for nothing, and their indexes are kept by hand. Neither has watches or change streams.
"""

from __future__ import annotations

import importlib
import importlib.util
import sqlite3
from collections.abc import Iterator
from typing import Any, Protocol

from statedb import Database

from .harness import Figure, Size, median, require, timed, workload
from .limit import Row, Rows, make_rows, write_in


class Peer(Protocol):
    """A store of rows with two secondary indexes."""

    def write(self, rows: list[Row], batch: int) -> None:
        """Insert or replace rows, in transactions of so many."""
        ...

    def get(self, keys: list[str]) -> int:
        """Look every key up; how many were there."""
        ...

    def list(self, nodes: list[str]) -> int:
        """List the rows of every node; how many."""
        ...


class Engine:
    """Ours."""

    def __init__(self) -> None:
        """Empty."""
        self.db = Database(Rows)

    def write(self, rows: list[Row], batch: int) -> None:
        """In transactions."""
        write_in(self.db, rows, batch)

    def get(self, keys: list[str]) -> int:
        """Of one snapshot."""
        find = self.db.snapshot()[Rows].get
        return sum([find(key) is not None for key in keys])

    def list(self, nodes: list[str]) -> int:
        """Of one snapshot."""
        by_node = self.db.snapshot()[Rows.by_node]
        return sum([len(by_node[node]) for node in nodes])


class Sqlite:
    """sqlite3 in memory, a column for each field, an index for each of ours."""

    def __init__(self) -> None:
        """Empty."""
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.execute("create table rows (id text primary key, node text, identity text, revision int, state text)")
        self._db.execute("create index by_node on rows (node)")
        self._db.execute("create index by_identity on rows (identity)")

    def write(self, rows: list[Row], batch: int) -> None:
        """In transactions."""
        for start in range(0, len(rows), batch):
            self._db.execute("begin")
            values = [(r.id, r.node, r.identity, r.revision, r.state) for r in rows[start : start + batch]]
            self._db.executemany("insert or replace into rows values (?, ?, ?, ?, ?)", values)
            self._db.execute("commit")

    def get(self, keys: list[str]) -> int:
        """Made into rows again."""
        question = "select * from rows where id = ?"
        return sum([Row(*self._db.execute(question, (key,)).fetchone()) is not None for key in keys])

    def list(self, nodes: list[str]) -> int:
        """Made into rows again, in key order."""
        question = "select * from rows where node = ? order by id"
        return sum([len([Row(*found) for found in self._db.execute(question, (node,))]) for node in nodes])


class PersistentMaps:
    """Three persistent maps, replaced together by every transaction; sets of keys in the two of the indexes."""

    def __init__(self, empty: Any) -> None:
        """``empty`` is a map with ``mutate`` or ``evolver`` (Any: of whichever package)."""
        self._maps: tuple[Any, Any, Any] = (empty, empty, empty)

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

    def get(self, keys: list[str]) -> int:
        """Of one state."""
        find = self._maps[0].get
        return sum([find(key) is not None for key in keys])

    def list(self, nodes: list[str]) -> int:
        """Of one state, in key order."""
        by_key, by_node, _ = self._maps
        return sum([len([by_key[key] for key in sorted(by_node[node])]) for node in nodes])


class _Builder:
    """A persistent map under change, by the one name for two packages' ways."""

    def __init__(self, of: Any) -> None:
        """``of`` is the map to begin with."""
        self._change = of.mutate() if hasattr(of, "mutate") else of.evolver()
        self.finish = self._change.finish if hasattr(of, "mutate") else self._change.persistent
        self.get = self._change.get if hasattr(self._change, "get") else self._look
        self.set = self._change.set

    def _look(self, key: str) -> Any:
        try:
            return self._change[key]
        except KeyError:
            return None


def _move(index: _Builder, key: str, old: str | None, new: str) -> None:
    if old == new:
        return
    if old is not None:
        index.set(old, index.get(old) - {key})
    index.set(new, (index.get(new) or frozenset()) | {key})


def peers() -> dict[str, Any]:
    """How each peer is made; those whose package is not installed are left out (Any: a function without arguments)."""
    found: dict[str, Any] = {"sqlite3": Sqlite}
    for package, name in (("immutables", "Map"), ("pyrsistent", "pmap")):
        if importlib.util.find_spec(package) is not None:
            empty = getattr(importlib.import_module(package), name)
            found[package] = lambda empty=empty: PersistentMaps(empty())
    return found


_NOISE = 0.95
_LESS = {("replace in 1s", "immutables"), ("replace in 100s", "immutables")}
"""Where a peer is faster and offers less: rows have no revisions there, of two writers one is lost without a word, and
nobody can wait for a change or follow it. Everywhere else ours must not be slower, give or take the noise."""


@workload("peers")
def compare(size: Size) -> Iterator[Figure]:
    """How many times as fast we are as what could be picked instead; below 1 we are slower."""
    rows, changed = make_rows(size.rows), make_rows(size.rows, 1)
    keys = [row.id for row in rows]
    nodes = sorted({row.node for row in rows})
    for name, make in peers().items():
        ratios: dict[str, list[float]] = {}
        for _ in range(min(size.repeats, 3)):
            ours, theirs = _round(Engine(), rows, changed, keys, nodes), _round(make(), rows, changed, keys, nodes)
            for what, seconds in ours.items():
                ratios.setdefault(what, []).append(theirs[what] / seconds)
        for what, values in ratios.items():
            least = None if (what, name) in _LESS else _NOISE
            yield Figure(f"{what}, times as fast as {name}", median(values), "x", at_least=least)


def _round(peer: Peer, rows: list[Row], changed: list[Row], keys: list[str], nodes: list[str]) -> dict[str, float]:
    """The seconds that each piece of work takes."""
    seconds = {
        "insert in 100s": timed(peer.write, rows, 100),
        "replace in 1s": timed(peer.write, changed, 1),
        "replace in 100s": timed(peer.write, rows, 100),
        "get": timed(peer.get, keys),
        "list": timed(peer.list, nodes),
    }
    require(peer.get(keys) == len(rows), "every key is there")
    require(peer.list(nodes) == len(rows), "every row is listed once")
    return seconds
