"""docs/faults.md, written from what a run has seen."""

from __future__ import annotations

import re
from pathlib import Path

from .cell import Cell
from .kinds import FAULTS
from .leaks import Growth

_HEAD = """# Faults

What each backend goes through, and what came of it. Written by `make faults` ({seconds:.0f} s on two shared cores); do
not edit. Servers are real: kube-apiserver and etcd processes that are killed, emptied, frozen and replaced, a TCP proxy
that cuts, holds, slows and halves what passes. The *fake server* speaks Kubernetes' protocol and does what a real one
does not on demand. Etcds that are to come back with what they had are ended in good order: the one of the tests, 3.5.1,
may lose a transaction that it has confirmed when it is killed (etcd-io/etcd 13766). Killed ones are in `tests/ingest`.

Every fault happened {rounds} times in a row at a site with 50 endpoints. While it lasted one went, one came and
one changed, wherever the server could take it. A cell says how long it took, from the end of the fault, until tables
equalled the source and `sources` said `synced` (the longest of all rounds). The run fails, and writes nothing, unless
in every cell

- the tables became equal to the source, row for row;
- no transaction of the reader and no change stream ever deleted a row that had not been removed at the source;
- `sources` told of the fault while it lasted, with a reason, wherever the reader can know of it (below);
- no more threads and no more sockets were left than before.
"""
_SCENARIOS = """
## The scenarios of CFP-44774

Here with a program of the tests in the publisher's place, which writes what it would; with the real one, whole agents
and their consumers they are in `tests/e2e`.
"""
_SAID = """
## What `sources` said meanwhile

The first words about each fault, and after how many seconds they came.
"""
_LEFT = """
## What is left behind

{cycles} readers one after the other, each started, synced, cut off, found `stale` and stopped, in one process: threads
and sockets before and after the last eighty, and by how much memory grew for each (the median slope of RSS; what the
proxies and fakes of the tests hold is in it).
"""
_PATHS = re.compile(r"/\S*/faults-\w+")
_PORTS = re.compile(r"127\.0\.0\.1:\d+")
_UIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def write(path: Path, cells: list[Cell], growths: list[Growth], rounds: int, seconds: float) -> None:
    """All of it."""
    parts = [
        _HEAD.format(seconds=seconds, rounds=rounds),
        *_matrix(cells, scenario=False),
        _SCENARIOS,
        *_matrix(cells, scenario=True),
        _SAID,
        *_told(cells),
    ]
    if growths:
        parts += [_LEFT.format(cycles=growths[0].cycles), *_growths(growths)]
    text = "\n".join(parts)
    path.write_text(text + "\n")


def _matrix(cells: list[Cell], *, scenario: bool) -> list[str]:
    backends = list(dict.fromkeys(cell.backend for cell in cells))
    by_place = {(cell.fault, cell.backend): cell for cell in cells}
    lines = [f"| fault | {' | '.join(backends)} |", "|---|" + "---:|" * len(backends)]
    notes: dict[str, int] = {}
    for fault in FAULTS:
        if fault.scenario != scenario:
            continue
        row = []
        for backend in backends:
            cell = by_place.get((fault.name, backend))
            if cell is None:
                row.append("")
            elif cell.left_out:
                row.append(f"– <sup>{notes.setdefault(cell.left_out, len(notes) + 1)}</sup>")
            else:
                row.append(f"{cell.healed_s:.2f} s")
        lines.append(f"| {fault.about} | {' | '.join(row)} |")
    return [*lines, "", *[f"{number}. {note}" for note, number in notes.items()]]


def _told(cells: list[Cell]) -> list[str]:
    lines = ["| fault | backend | after | `sources` |", "|---|---|---:|---|"]
    about = {fault.name: fault.about for fault in FAULTS}
    for name in about:
        for cell in cells:
            if cell.fault == name and cell.told:
                told = cell.told[0]
                withheld = f", {told.withheld} deletes withheld" if told.withheld else ""
                note = f"; {cell.note}" if cell.note else ""
                text = f"`{told.state}`{withheld}: {_plain(told.error)}{note}"
                lines.append(f"| {about[name]} | {cell.backend} | {told.after_s:.2f} s | {text} |")
    return lines


def _growths(growths: list[Growth]) -> list[str]:
    lines = ["| backend | threads | sockets | memory a reader |", "|---|---:|---:|---:|"]
    for each in growths:
        before, after = each.before, each.after
        lines.append(
            f"| {each.backend} | {before.threads} → {after.threads} | {before.sockets} → {after.sockets} "
            f"| {each.memory_a_cycle / 1024:.1f} KB |"
        )
    return lines


def _plain(error: str) -> str:
    """Without what is another one each time."""
    text = _UIDS.sub("(UID)", _PORTS.sub("(server)", _PATHS.sub("(directory)", error)))
    return text.replace("|", "\\|")
