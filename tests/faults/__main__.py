"""All faults at all sites, three times each, then a hundred readers that are cut off; a page of it: `make faults`."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ..apiserver import binary
from . import page
from .apis import FakeApiSite, KubernetesSite
from .cell import Cell
from .clock import true_monotonic as monotonic  # isort: split  # first: all others are to see the clocks of it
from .directories import ManifestsSite
from .etcds import FanoutSite, KvstoreSite, MeshSite
from .kinds import FAULTS
from .leaks import CYCLES, Growth, connect_and_kill
from .members import MembersSite
from .play import play
from .site import Site

SITES: tuple[type[Site], ...] = (
    ManifestsSite,
    KubernetesSite,
    FakeApiSite,
    KvstoreSite,
    MembersSite,
    MeshSite,
    FanoutSite,
)
ROUNDS = 3

T = TypeVar("T")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 where a promise is broken; the page is written only where all are kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--fault", action="append", choices=[fault.name for fault in FAULTS])
    parser.add_argument("--backend", action="append", choices=[site.backend for site in SITES])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--cycles", type=int, default=CYCLES, help="readers that are cut off; 0: none")
    parser.add_argument("--page", type=Path, help="where to write the page")
    chosen = parser.parse_args(arguments)
    sites = [site for site in SITES if not chosen.backend or site.backend in chosen.backend]
    faults = [fault for fault in FAULTS if not chosen.fault or fault.name in chosen.fault]
    began = monotonic()
    cells, growths, failed = list[Cell](), list[Growth](), 0
    for site in sites:
        try:
            if site is KubernetesSite:
                binary.find()
        except binary.Missing as error:
            say(f"{site.backend}: left out: {error}")
            failed += chosen.page is not None
            continue
        for fault in faults:
            one = _tried(f"{site.backend:26}{fault.name:20}", lambda: play(site, fault, chosen.rounds))  # noqa: B023
            failed += one is None
            if one is not None:
                cells.append(one)
                say(f"{site.backend:26}{fault.name:20}{_result(one)}")
                failed += bool(one.threads_left or one.sockets_left)
        if chosen.cycles:
            growth = _tried(f"{site.backend:26}readers", lambda: connect_and_kill(site, chosen.cycles))  # noqa: B023
            failed += growth is None
            if growth is not None:
                growths.append(growth)
                say(f"{site.backend:26}{chosen.cycles} readers: {_growth(growth)}")
                failed += growth.is_leaking
    if not failed and chosen.page is not None:
        page.write(chosen.page, cells, growths, chosen.rounds, monotonic() - began)
    say(f"{failed} failures, {len(cells)} cells, {monotonic() - began:.0f} s")
    return 1 if failed else 0


def say(text: str) -> None:
    """Progress, to stderr."""
    print(f"  {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _tried(what: str, work: Callable[[], T]) -> T | None:
    try:
        return work()
    except Exception:
        traceback.print_exc()
        say(f"{what}FAILED")
        return None


def _result(cell: Cell) -> str:
    if cell.left_out:
        return f"left out: {cell.left_out}"
    left = f", LEFT {cell.threads_left} threads, {cell.sockets_left} sockets"
    return f"healed {cell.healings} times, in {cell.healed_s:.2f} s at most" + (
        left if cell.threads_left or cell.sockets_left else ""
    )


def _growth(growth: Growth) -> str:
    before, after = growth.before, growth.after
    return (
        f"threads {before.threads} -> {after.threads}, sockets {before.sockets} -> {after.sockets}, "
        f"{growth.memory_a_cycle / 1024:.1f} KB a reader" + (" LEAK" if growth.is_leaking else "")
    )


if __name__ == "__main__":
    sys.exit(main())
