"""Two writers and four readers at once, on one table or on two: the work of each is fixed, so that all do the same.

Knows stores only by writing rows and looking keys up.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from .harness import require
from .limit import Row

AT_ONCE = 100
"""Rows of a transaction, and keys that are looked up in one state."""

READERS = 4
WRITERS = 2


class Shared(Protocol):
    """A table that several threads may use."""

    def write(self, rows: list[Row], batch: int) -> None:
        """Insert or replace rows, in transactions of so many."""
        ...

    def get(self, keys: list[str]) -> list[Row]:
        """The row of every key that is there, all of one state."""
        ...


def halves(rows: list[Row]) -> list[list[Row]]:
    """What each writer writes; together all rows."""
    return [rows[n::WRITERS] for n in range(WRITERS)]


def operations(rows: int) -> int:
    """How many rows are written and looked up while all are at work."""
    return rows + READERS * rows // WRITERS


def fill(tables: Sequence[Shared], rows: list[Row]) -> None:
    """Each writer's rows into the table that it will write to."""
    for number, half in enumerate(halves(rows)):
        tables[number % len(tables)].write(half, AT_ONCE)


def at_once(tables: Sequence[Shared], rows: list[Row]) -> None:
    """Six threads until all are done; they take the tables by turns. Raises what one of them raises.

    Each writer replaces its half of the rows, each reader looks every key of one half up.
    """
    works = [(_write, tables[n % len(tables)], half) for n, half in enumerate(halves(rows))]
    works += [(_look_up, tables[n % len(tables)], halves(rows)[n % WRITERS]) for n in range(READERS)]
    with ThreadPoolExecutor(len(works)) as threads:
        for done in [threads.submit(work, table, half) for work, table, half in works]:
            done.result()


def _write(table: Shared, rows: list[Row]) -> None:
    table.write(rows, AT_ONCE)


def _look_up(table: Shared, rows: list[Row]) -> None:
    for start in range(0, len(rows), AT_ONCE):
        keys = [row.id for row in rows[start : start + AT_ONCE]]
        require(len(table.get(keys)) == len(keys), "no key is missing while its row is replaced")
