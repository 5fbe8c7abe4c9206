"""Memory for each row: by how much a fresh process grows that fills one store, rows and indexes together.

What counts is the resident set after a collection. The rows are made in the process, with strings of their own; what
was imported, and the empty store, are there before. Linux only: elsewhere a line says so, and there are no figures.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from .gopeer import original
from .gotasks import Task, Work, digest_of, lines_of
from .harness import FULL, LARGE, Digest, Figure, Outcome, Size, require, workload
from .limit import Limit, Row, make_rows
from .stores import Engine, others

_STATM = Path("/proc/self/statm")
_BATCH = 1000
_MANY = 100_000
_QUADRATIC = ("immutables", "pyrsistent")
"""Who is left out where there are many rows: their sets of keys are copied for every row that enters one, which takes
minutes there. A row does not take more or less memory for it."""


class Grown(msgspec.Struct, frozen=True):
    """How many bytes the process grew by, and a digest of the rows that it holds."""

    size: int
    answer: str


class _PlainDicts:
    """The limit as a store: one dict and two dicts of sets."""

    def __init__(self) -> None:
        self._limit = Limit()

    def write(self, rows: list[Row], batch: int) -> None:  # noqa: ARG002  # it has no transactions
        self._limit.insert(rows)

    def iterate(self) -> list[Row]:
        return [self._limit.rows[key] for key in sorted(self._limit.rows)]


@workload("memory", FULL, LARGE)
def memory(size: Size) -> Iterator[Outcome]:
    """Bytes for each row, indexes included: by how much a fresh process grows; beside the plain dicts and all peers."""
    if not _STATM.exists():
        print(f"  no figures of memory: the system has no {_STATM}", file=sys.stderr)
        return
    ours = fresh("ours", size.rows)
    yield Figure("ours", ours.size / size.rows, "B/row")
    plain = fresh("plain dicts", size.rows)
    require(plain.answer == ours.answer, "the plain dicts hold the same rows")
    yield Figure("plain dicts", plain.size / size.rows, "B/row")
    yield Figure("ours, ratio to the plain dicts", ours.size / plain.size, "x")
    for name, _ in others():
        if name in _QUADRATIC and size.rows > _MANY:
            continue
        grown = fresh(name, size.rows)
        require(grown.answer == ours.answer, f"{name} holds the same rows")
        yield from _beside(name, grown.size / size.rows, ours.size / size.rows)
    task = Task("memory", "memory", _BATCH)
    with original(Work(size, [task])) as go:
        if go is not None:
            done = go.do(task)
            require(done.answer == ours.answer, "the Go statedb holds the same rows")
            yield from _beside("the Go statedb", done.samples[0], ours.size / size.rows)
    yield Digest(ours.answer)


def _beside(name: str, theirs: float, ours: float) -> Iterator[Figure]:
    yield Figure(name, theirs, "B/row")
    yield Figure(f"memory of a row, times as small as {name}", theirs / ours, "x")


def fresh(name: str, rows: int) -> Grown:
    """What a process of its own says of one store. Raises AssertionError where it fails."""
    command = [sys.executable, "-m", "benchmarks.memory", name, str(rows)]
    done = subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).parent.parent)
    require(done.returncode == 0, f"the process of {name} fills its store: {done.stderr.decode(errors='replace')}")
    return msgspec.json.decode(done.stdout, type=Grown)


def grow(name: str, rows: int) -> Grown:
    """Fill the store of this name in this process."""
    makers: dict[str, Any] = {"ours": Engine, "plain dicts": _PlainDicts, **dict(others())}
    store = makers[name]()
    before = _resident()
    store.write(make_rows(rows), _BATCH)
    size = max(_resident() - before, os.sysconf("SC_PAGE_SIZE"))
    return Grown(size, digest_of(lines_of(store.iterate())))


def _resident() -> int:
    gc.collect()
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(msgspec.json.encode(grow(sys.argv[1], int(sys.argv[2]))).decode())
