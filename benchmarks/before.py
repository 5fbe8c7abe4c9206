"""The store compared with the one before its rewrite, task by task in turns, and the goals of that rewrite.

The older one comes out of this repository's history; without that (in an archive of the sources) there are only figures
of the newer one, and a line says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from .harness import FULL, Figure, Outcome, Size, median, require, rounds, workload

_ROOT = Path(__file__).parent.parent
_BEFORE = "4c4cad5faddb83d4d6e5fc0fafb8597a0dbe99c6"
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "B": 1.0, "MiB": 2.0**20}
_TURNS = 5


class Line(msgspec.Struct, frozen=True):
    """A task, how its figure is shown, and at most how much of the time before it may take."""

    task: str
    shown: str
    unit: str
    at_most: float
    turns: int = _TURNS


SAME = 1.03
LINES = (
    Line("replace_one", "one row by itself: replace", "us", 0.55),
    Line("insert_one", "one row by itself: insert", "us", 0.6),
    Line("snapshot", "snapshot", "ns", 70 / 183),
    Line("order_first", "rows in order, the first time", "ns", 280 / 387),
    Line("order_after_one", "rows in order, after one change", "ns", 15 / 79),
    Line("order_old_again", "rows in order, an old snapshot again", "ns", 20 / 450),
    Line("prefix", "prefix", "ns", 60 / 211),
    Line("changes_at_once", "changes, all at once", "ns", 300 / 471),
    Line("moves_100", "rows that move between index keys, in 100s", "us", 3.8 / 5.3),
    Line("moves_1000", "rows that move between index keys, in 1000s", "us", 4.9 / 7.6),
    Line("get_1_old", "get, 1 commit old", "ns", 330 / 464),
    Line("get_100_old", "get, 100 commits old", "ns", 0.76),
    Line("get_10000_old", "get, 10000 commits old", "ns", 460 / 606),
    Line("list_1_old", "list by node, 1 commit old", "us", 310 / 494),
    Line("list_100_old", "list by node, 100 commits old", "us", 0.79),
    Line("list_10000_old", "list by node, 10000 commits old", "us", 720 / 909),
    Line("read_2000_snapshots", "2000 snapshots, each read once", "us", 0.2 / 3.7, 3),
    Line("staged_order", "rows in order in a transaction with one staged", "ns", 0.23),
    Line("insert_1000", "insert in 1000s", "us", SAME),
    Line("delete_1000", "delete in 1000s", "us", SAME),
    Line("get", "get", "ns", SAME),
    Line("miss", "miss", "ns", SAME),
    Line("list_by_node", "list by node", "us", SAME),
    Line("watch", "watch a row", "us", SAME),
    Line("million_range", "index.range(start, limit=10), many rows", "us", 0.002, 3),
    Line("million_in", "key in index, many rows", "us", 10 / 480, 3),
    Line("million_replace", "replace many rows in one transaction", "us", 5 / 12.7, 1),
    Line("million_clear", "clear many rows", "us", 6 / 22.9, 1),
    Line("million_insert", "insert many rows in one transaction", "us", 4 / 6.6, 1),
    Line("one_key", "insert one and list ten of an index key with all rows", "us", 1e-3 / 1.2, 1),
)
ALONE = (
    Line("bytes_of_2000_snapshots", "2000 snapshots, each read once, memory", "MiB", 20.0),
    Line("bytes_of_2000_snapshots_read_often", "2000 snapshots, each read 100 times, memory", "MiB", 20.0),
    Line("bytes_of_a_row", "memory of a row", "B", SAME),
)
"""In a process of its own each: what was freed before would hide what grows."""


class Side:
    """A process with one of the two stores."""

    def __init__(self, folder: Path, size: Size) -> None:
        """``folder`` holds the package."""
        command = [sys.executable, "-m", "benchmarks.before_tasks", str(size.rows), str(_many(size))]
        paths = os.pathsep.join([str(folder), str(_ROOT)])
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, task: str) -> float:
        """What the task gives."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{task}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        require(bool(answer), f"the task {task} of {self._process.args!r} comes to its end")
        return float(answer)

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def _many(size: Size) -> int:
    """How many rows where there are many."""
    return 1_000_000 if size.name == "full" else 25 * size.rows


@contextmanager
def _store_before() -> Iterator[Path | None]:
    """A folder with the store as it was; None where it cannot be had."""
    command = ["git", "-C", str(_ROOT), "archive", _BEFORE, "statedb"]
    try:
        archive = subprocess.run(command, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        print(f"  nothing beside the store before its rewrite: commit {_BEFORE[:7]} is not here", file=sys.stderr)
        yield None
        return
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["tar", "-x", "-C", name], check=True, input=archive)  # tarfile has filters from 3.11.4 on
        yield Path(name)


@contextmanager
def _sides(size: Size, folders: list[Path]) -> Iterator[list[Side]]:
    sides = [Side(folder, size) for folder in folders]
    try:
        yield sides
    finally:
        for side in sides:
            side.end()


@workload("before", FULL)
def before(size: Size) -> Iterator[Outcome]:
    """Beside the store before it was rewritten: processor time as a share of what the same took then."""
    with _store_before() as folder:
        folders = [_ROOT] if folder is None else [_ROOT, folder]
        with _sides(size, folders) as sides:
            for number in rounds(len(LINES), "beside the store before its rewrite"):
                line = LINES[number]
                turns = [[side.do(line.task) for side in sides] for _ in range(min(line.turns, size.repeats))]
                yield from _figures(line, turns)
            alone, beside = (sides[0].do(task) for task in ("commit_alone", "commit_beside_a_stream"))
            for _ in range(min(_TURNS, size.repeats) - 1):
                alone = min(alone, sides[0].do("commit_alone"))
                beside = min(beside, sides[0].do("commit_beside_a_stream"))
            yield Figure("one-row commits beside an idle stream", 100 * (beside / alone - 1), "%", at_most=25.0)
        for line in ALONE:
            yield from _memory(line, size, folders)


def _figures(line: Line, turns: list[list[float]]) -> Iterator[Outcome]:
    scale = _UNITS[line.unit]
    yield Figure(line.shown, median(each[0] for each in turns) / scale, line.unit)
    if len(turns[0]) > 1:
        yield Figure(f"{line.shown}, before", median(each[1] for each in turns) / scale, line.unit)
        share = min(each[0] for each in turns) / min(each[1] for each in turns)
        yield Figure(f"{line.shown}, share of before", share, "x", at_most=round(line.at_most, 4))


def _memory(line: Line, size: Size, folders: list[Path]) -> Iterator[Outcome]:
    found = []
    for folder in folders:
        with _sides(size, [folder]) as (side,):
            found.append(side.do(line.task) / _UNITS[line.unit])
    bound = line.at_most if line.unit == "MiB" else None
    yield Figure(line.shown, found[0], line.unit, at_most=bound)
    if len(found) > 1:
        yield Figure(f"{line.shown}, before", found[1], line.unit)
        if bound is None:
            yield Figure(f"{line.shown}, share of before", found[0] / found[1], "x", at_most=line.at_most)
