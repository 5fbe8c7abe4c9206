"""One fault at one kind of site, as often as it is to happen."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from .cell import Cell, Run
from .etcds import KvstoreSite
from .kinds import Fault
from .members import MembersSite
from .resources import held, held_at_most
from .site import Site


def play(kind: type[Site], fault: Fault, rounds: int = 1, watched: Callable[[Site, Cell], Run] = Run) -> Cell:
    """One fault at one site, so many times in a row, each with its tables right in the end.

    ``watched`` makes the run, which may look at more than others. Raises AssertionError where a promise is broken.
    """
    result = Cell(backend=kind.backend, fault=fault.name)
    if fault.only and kind not in fault.only:
        tried = kind is MembersSite and KvstoreSite in fault.only
        result.left_out = "tried at one etcd" if tried else fault.why
        return result
    before = held()
    for _ in range(rounds if fault.once else 1):
        _at_one_site(kind, fault, result, 1 if fault.once else rounds, watched)
    after = held_at_most(before.threads, before.sockets)
    result.threads_left = max(0, after.threads - before.threads)
    result.sockets_left = max(0, after.sockets - before.sockets)
    return result


def _at_one_site(
    kind: type[Site], fault: Fault, result: Cell, rounds: int, watched: Callable[[Site, Cell], Run]
) -> None:
    options = fault.options.get(kind.backend, {})
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as temporary,
        kind(Path(temporary), replicas=fault.replicas, by_name=fault.by_name, **options) as site,
    ):
        if fault.guarded:
            site.guard()
        if not fault.waits:
            site.start_reader()
            site.converge("the first list")
        run = watched(site, result)
        for _ in range(rounds):
            run.begin()
            fault.happen(run)
