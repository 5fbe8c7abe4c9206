"""docs/soak.md, written from what a run has seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .kinds import FAULTS

if TYPE_CHECKING:
    from .soak import Soak, Story

_HEAD = """# Soak

{minutes:g} minutes of random faults at all backends at once, in one process. Written by `make soak` (seed {seed}, two
shared cores); do not edit. Each backend has real servers of its own (the *fake server* does what a real API server does
not on demand; clustermesh has three replicas) and one thread that mistreats them: it changes some endpoints, picks a
fault at random, waits until the tables equal the source again, pauses for up to three seconds, and goes on. What the
faults are stands in `faults.md`. Where nothing is left that shows which etcd it is, deletes wait for `lease-time-s`:
1 s at kvstore, 5 s at clustermesh and etcd here; by default it is 15 minutes.

The run fails, and writes nothing, where tables do not become equal to their source, a row is deleted that was never
removed at the source, threads or sockets are left over, or memory grows by more than 512 KB a minute.
The process has two arenas for memory (`MALLOC_ARENA_MAX=2`), and gives back what is free before each sample.
"""
_PARTS = 8


def write(path: Path, soak: Soak) -> None:
    """All of it."""
    path.write_text(_HEAD.format(minutes=soak.minutes, seed=soak.seed) + "\n" + "\n".join(lines(soak)) + "\n")


def lines(soak: Soak) -> list[str]:
    """The tables."""
    return [*_stories(soak), "", *_kinds(soak), "", *_resources(soak)]


def _stories(soak: Soak) -> list[str]:
    header = [
        "| backend | faults | endpoints removed | false deletes | healed, median | healed, longest |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    return header + [
        f"| {story.backend} | {story.faults.total()} | {story.removed} | {story.false_deletes} "
        f"| {_median(story):.2f} s | {max(story.healed_s, default=0.0):.2f} s |"
        for story in soak.stories
    ]


def _kinds(soak: Soak) -> list[str]:
    backends = [story.backend for story in soak.stories]
    rows = [
        f"| {fault.about} | {' | '.join(str(story.faults[fault.name] or '–') for story in soak.stories)} |"
        for fault in FAULTS
        if any(story.faults[fault.name] for story in soak.stories)
    ]
    return [f"| how often | {' | '.join(backends)} |", "|---|" + "---:|" * len(backends), *rows]


def _resources(soak: Soak) -> list[str]:
    size = max(1, len(soak.samples) // _PARTS)
    parts = [soak.samples[start : start + size] for start in range(0, size * _PARTS, size)]
    rows = [
        f"| {number * soak.minutes / _PARTS:.1f} to {(number + 1) * soak.minutes / _PARTS:.1f} "
        f"| {_middle([each.memory for each in part]) / 1e6:.1f} MB | {_middle([each.threads for each in part]):.0f} |"
        for number, part in enumerate(parts)
        if part
    ]
    return [
        "| minutes | memory, median (RSS) | threads, median |",
        "|---|---:|---:|",
        *rows,
        "",
        f"Memory grew by {soak.memory_a_minute / 1024:.0f} KB a minute over the second half (median slope;",
        "what proxies, fakes and records of the tests hold is in it).",
        f"Threads {soak.before.threads} before and {soak.after.threads} after, sockets {soak.before.sockets} and "
        f"{soak.after.sockets}.",
    ]


def _median(story: Story) -> float:
    return _middle(story.healed_s)


def _middle(values: list[float] | list[int]) -> float:
    return float(sorted(values)[len(values) // 2]) if values else 0.0
