"""Workloads, their sizes, and how they are timed. Knows no engine.

A workload is a function from a size to figures. It checks that what it timed is right (the engine's answer is compared
with the plain dicts'), so that nobody makes it faster by changing its meaning.
"""

from __future__ import annotations

import gc
import hashlib
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec


class Size(msgspec.Struct, frozen=True):
    """How much a run does. ``repeats`` are interleaved; their median counts."""

    name: str
    rows: int
    repeats: int
    watches: tuple[int, ...]
    wakes: int


SMOKE = Size("smoke", rows=400, repeats=1, watches=(50, 100), wakes=5)
FULL = Size("full", rows=40_000, repeats=9, watches=(10_000, 100_000), wakes=400)
LARGE = Size("large", rows=1_000_000, repeats=3, watches=(), wakes=0)
SIZES = {size.name: size for size in (SMOKE, FULL, LARGE)}


class Figure(msgspec.Struct, frozen=True):
    """One number. ``at_most`` and ``at_least`` are its targets, if it has any (see Workload)."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def missed(self) -> bool:
        """Whether it has a target and missed it."""
        over = self.at_most is not None and self.value > self.at_most
        return over or (self.at_least is not None and self.value < self.at_least)

    @property
    def target(self) -> str:
        """The target in words; empty where there is none."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"


class Digest(msgspec.Struct, frozen=True):
    """What a workload's result was, in a few characters: the same on any machine at the same size and repeats."""

    value: str


Outcome: TypeAlias = Figure | Digest
Run: TypeAlias = Callable[[Size], Iterable[Outcome]]


class Workload(msgspec.Struct, frozen=True):
    """A named run, and the sizes at which it makes sense beside the smoke size.

    To add one (in a module that ``__main__`` imports): a function from a Size to Figures and Digests, under
    ``@workload(name, *sizes)``, which calls `require` for what must hold.
    """

    name: str
    run: Run
    sizes: tuple[str, ...]
    about: str
    on_request: bool = False
    """Whether it runs only when it is named."""

    @property
    def target_size(self) -> str:
        """The size that its targets are for: the first one."""
        return self.sizes[0]


_FROZEN = gc.get_freeze_count()  # some Pythons freeze a few hundred objects of their own while they start

WORKLOADS: dict[str, Workload] = {}
"""All workloads by name, in the order in which their modules were imported."""


def workload(name: str, *sizes: Size, on_request: bool = False) -> Callable[[Run], Run]:
    """Enter a workload; its docstring says what it is about. At full size only, unless sizes are given; targets are for
    the first of them."""

    def enter(run: Run) -> Run:
        about = (run.__doc__ or "").strip().splitlines()[0]
        WORKLOADS[name] = Workload(name, run, tuple(size.name for size in sizes or (FULL,)), about, on_request)
        return run

    return enter


def timed(work: Callable[..., Any], *arguments: Any) -> float:
    """The seconds that a piece of work takes, with the collector as users have it: on, and nothing frozen."""
    require(gc.isenabled() and gc.get_freeze_count() == _FROZEN, "the collector is on, and nothing is frozen")
    gc.collect()
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def require(holds: bool, what: str) -> None:
    """Raise where a workload did not do what it should have done."""
    if not holds:
        raise AssertionError(f"wrong result: {what}")


def digest(values: Iterable[Any]) -> Digest:
    """The digest of rows or other plain values, in the order given (Any: whatever msgspec encodes)."""
    found = hashlib.sha256()
    for value in values:
        found.update(msgspec.msgpack.encode(value))
    return Digest(found.hexdigest()[:16])


def same(answer: Iterable[Any], expected: Iterable[Any], what: str) -> Digest:
    """The digest of an answer. Raises AssertionError where it is not that of what was expected."""
    found = digest(answer)
    require(found == digest(expected), what)
    return found


_SAY_EVERY_S = 5.0


def rounds(count: int, what: str) -> Iterator[int]:
    """The numbers of a run's rounds; on long work a line to standard error says now and then how far it is."""
    said = time.monotonic()
    for number in range(count):
        if time.monotonic() - said > _SAY_EVERY_S:
            said = time.monotonic()
            print(f"  ... {what}: {number} of {count}", file=sys.stderr, flush=True)
        yield number


def surroundings() -> dict[str, Any]:
    """What figures depend on: machine, interpreter, commit (Any: JSON)."""
    return {
        "python": platform.python_version(),
        "build": _build(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count() or 0,
        "commit": _commit(),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
    }


def _build() -> str:
    """How the interpreter was compiled, as far as it says so itself: Debian's, for one, does not."""
    flags = str(sysconfig.get_config_var("PY_CORE_CFLAGS"))
    profile = "profile-guided build" if "-fprofile-use" in flags else "build that names no profile"
    return f"{profile}, {platform.python_compiler()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
