"""The Go original as a peer: the same work on the same rows in the same run, by turns.

The Go program in ``peers_go/`` is ours; the Go toolchain fetches github.com/cilium/statedb for it. Where there is no
toolchain, or the module cannot be had, a line says so, and there are our own times only.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from .golang import Missing, go_program
from .goours import Ours
from .gotasks import AT_LEAST, AT_LEAST_MILLION, MILLION, TASKS, Done, Side, Task, Work
from .harness import LARGE, Figure, Outcome, Size, digest, median, require, rounds, workload


class Original:
    """The Go program at the tasks."""

    def __init__(self, program: subprocess.Popen[bytes], work: Work) -> None:
        """``program`` reads tasks from its standard input."""
        self._program = program
        self._tell(work.as_input())

    def do(self, task: Task) -> Done:
        """Do a task, and say what it took and gave."""
        self._tell(task)
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        require(bool(line), f"the Go program ended at {task.name!r}; see what it said")
        return msgspec.json.decode(line, type=Done)

    def _tell(self, what: Any) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(msgspec.json.encode(what) + b"\n")
        self._program.stdin.flush()


@contextmanager
def original(work: Work) -> Iterator[Original | None]:
    """The Go program while it runs; None, and a line to standard error, where it cannot be had."""
    try:
        program = go_program("peers_go")
    except Missing as error:
        print(f"  no figures of the Go statedb: {error}", file=sys.stderr)
        yield None
        return
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        yield Original(running, work)


@workload("go")
def compare(size: Size) -> Iterator[Outcome]:
    """Our times, and how many times as fast as the Go original we are; below 1 we are slower."""
    yield from _compare(size, TASKS, AT_LEAST)


@workload("go-million", LARGE, on_request=True)
def compare_million(size: Size) -> Iterator[Outcome]:
    """As go, at a million rows: inserts, replaces, lookups, lists and iteration. Minutes long; only when named."""
    yield from _compare(size, MILLION, AT_LEAST_MILLION)


def _compare(size: Size, tasks: Sequence[Task], at_least: Mapping[str, float]) -> Iterator[Outcome]:
    work, answers = Work(size, tasks), dict[str, str]()
    ours: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    with original(work) as other:
        engine = Ours(work)
        sides: tuple[Side, ...] = (engine,) if other is None else (engine, other)
        for at in rounds(size.repeats * len(tasks), "tasks"):
            task = msgspec.structs.replace(tasks[at % len(tasks)], revision=at)
            done = _by_turns(sides, task, at // len(tasks) + at % len(tasks))
            answers[task.name] = done[0].answer
            require(done[-1].answer == done[0].answer, f"both have the same answer to {task.name!r}")
            own, theirs = _times(done[0]), _times(done[-1])
            for name, nanoseconds in own.items():
                ours.setdefault(name, []).append(nanoseconds)
                ratios.setdefault(name, []).append(theirs[name] / nanoseconds)
    for name, each in ours.items():
        yield Figure(name, median(each), "ns")
        if other is not None:
            faster = median(ratios[name])
            yield Figure(f"{name}, times as fast as the Go statedb", faster, "x", at_least=at_least.get(name))
    yield digest(answers.values())


def _by_turns(sides: Sequence[Side], task: Task, number: int) -> list[Done]:
    """What each side needed for the task; who is first changes with the number, so from task to task and from round to
    round."""
    turns = range(len(sides)) if number % 2 else reversed(range(len(sides)))
    done = {turn: sides[turn].do(task) for turn in turns}
    return [done[at] for at in range(len(sides))]


def _times(done: Done) -> dict[str, float]:
    """Nanoseconds by the name of their figure."""
    if len(done.samples) == 1:
        return {done.name: done.samples[0]}
    ordered = sorted(done.samples)
    return {f"{done.name}, p{part}": ordered[len(ordered) * part // 100] for part in (50, 99)}
