"""Random faults over all backends at once, for twenty minutes: `make soak`."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from ..apiserver import binary
from . import soak_page
from .apis import FakeApiSite, KubernetesSite
from .cell import Cell, Run
from .clock import true_monotonic as monotonic
from .directories import ManifestsSite
from .etcds import FanoutSite, KvstoreSite, MeshSite
from .kinds import FAULTS, Fault
from .resources import Held, held, held_at_most, slope
from .site import Site

MINUTES = 20.0
_SAMPLE_S = 5.0
_PAUSE_S = (0.5, 3.0)
_RARE = {"flood": 0.2, "frozen": 0.5}
_LEASE_S = 5.0
_SITES: tuple[tuple[type[Site], dict[str, Any]], ...] = (
    (ManifestsSite, {}),
    (KubernetesSite, {"silence_s": 3.0, "request_timeout_s": 3.0}),
    (FakeApiSite, {"silence_s": 3.0, "request_timeout_s": 3.0}),
    (KvstoreSite, {}),
    (MeshSite, {"replicas": 3, "lease_time_s": _LEASE_S}),
    (FanoutSite, {"lease_time_s": _LEASE_S}),
)
_WARM_UP = 0.5
_MEMORY_MAX = 512 * 1024
_ARENAS = "MALLOC_ARENA_MAX"


class Story(msgspec.Struct, kw_only=True):
    """What one site went through. ``healed_s``: of each fault; ``false_deletes``: endpoints that nobody had removed."""

    backend: str
    faults: Counter[str]
    healed_s: list[float]
    changes: int = 0
    removed: int = 0
    false_deletes: int = 0


class Soak(msgspec.Struct, kw_only=True):
    """All of it. ``samples``: every five seconds; ``memory_a_minute``: bytes, the slope of the second half."""

    seed: int
    minutes: float
    stories: list[Story]
    samples: list[Held]
    before: Held
    after: Held
    memory_a_minute: float

    @property
    def is_leaking(self) -> bool:
        """More threads or sockets than before the faults, or memory that grows by more than 512 KB a minute."""
        return (
            self.after.threads > self.before.threads
            or self.after.sockets > self.before.sockets
            or self.memory_a_minute > _MEMORY_MAX
        )


class _Victim(threading.Thread):
    """One site, and who mistreats it."""

    def __init__(self, site: Site, seed: str, end: float) -> None:
        super().__init__(name=f"faults at {site.backend}")
        self.site = site
        self.story = Story(backend=site.backend, faults=Counter(), healed_s=[])
        self.failure: BaseException | None = None
        self.doing = ""
        self._random = random.Random(seed)
        self._end = end
        self._over = threading.Event()

    def run(self) -> None:
        try:
            while monotonic() < self._end and not self._over.is_set():
                self._one_fault()
                self._over.wait(self._random.uniform(*_PAUSE_S))
            self.site.mend()
            self.site.converge("the end")
        except BaseException as error:
            self.failure = error
        story, site = self.story, self.site
        deleted = site.deletions.now()
        story.removed = len(deleted)
        story.false_deletes = len(deleted - site.removed)

    def stop(self) -> None:
        """Let this fault be the last."""
        self._over.set()

    def _one_fault(self) -> None:
        site, story = self.site, self.story
        fault = self._chosen()
        self.doing = fault.name
        site.beat()
        for _ in range(self._random.randrange(5)):
            site.write(site.some_change())
            story.changes += 1
        cell = Cell(backend=site.backend, fault=fault.name)
        fault.happen(Run(site, cell))
        story.faults[fault.name] += 1
        story.healed_s.append(cell.healed_s)
        if isinstance(site, FakeApiSite):
            site.compact()  # its history is in our memory

    def _chosen(self) -> Fault:
        possible = [
            fault
            for fault in FAULTS
            if (not fault.only or type(self.site) in fault.only)
            and not (fault.once or fault.waits or fault.by_name or fault.guarded)
            and fault.name not in ("clocks", "dead-replica")  # the first are everybody's, the other needs an option
        ]
        (chosen,) = self._random.choices(possible, [_RARE.get(fault.name, 1.0) for fault in possible])
        return chosen


def soak(minutes: float, seed: int, kinds: Sequence[tuple[type[Site], dict[str, Any]]] = _SITES) -> Soak:
    """Raises AssertionError with the seed where a promise is broken."""
    with tempfile.TemporaryDirectory(prefix="faults-") as temporary:
        sites: list[Site] = []
        with ExitStack() as entered:  # a server that ended by itself is told when its site is left: all are left
            for number, (kind, options) in enumerate(kinds):
                directory = Path(temporary) / str(number)
                directory.mkdir()
                sites.append(entered.enter_context(kind(directory, **options)))
                sites[-1].start_reader()
            for site in sites:
                site.converge("the first list")
            return _mistreated(sites, minutes, seed)


def _mistreated(sites: list[Site], minutes: float, seed: int) -> Soak:
    before = held()
    end = monotonic() + minutes * 60
    victims = [_Victim(site, f"{seed} {site.backend}", end) for site in sites]
    for victim in victims:
        victim.start()
    samples = []
    pause = threading.Event()
    told = monotonic()
    while any(victim.is_alive() for victim in victims):
        pause.wait(_SAMPLE_S)
        samples.append(held())
        if monotonic() > told + 60:
            told = monotonic()
            count = {victim.site.backend: victim.story.faults.total() for victim in victims}
            say(f"{(end - told) / 60:4.1f} minutes left; faults {count}; {samples[-1].memory / 1e6:.0f} MB")
        for failed in [victim for victim in victims if victim.failure is not None]:
            for victim in victims:
                victim.stop()
            for victim in victims:
                victim.join(60)
            raise AssertionError(
                f"seed {seed}: {failed.site.backend}, {failed.doing}: {failed.failure}"
            ) from failed.failure
    settled = [each.memory for each in samples[int(len(samples) * _WARM_UP) :]]
    return Soak(
        seed=seed,
        minutes=minutes,
        stories=[victim.story for victim in victims],
        samples=samples,
        before=before,
        after=held_at_most(before.threads, before.sockets),
        memory_a_minute=slope(settled) * 60 / _SAMPLE_S,
    )


def say(text: str) -> None:
    """Progress, to stderr."""
    print(f"  {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Exit status 1 where a promise is broken; the page is written only where all are kept."""
    if _ARENAS not in os.environ:  # hundreds of short threads, each with an arena, would look like a leak
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.faults.soak", *sys.argv[1:]], os.environ | {_ARENAS: "2"}
        )
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--page", type=Path, help="where to write the page")
    chosen = parser.parse_args()
    try:
        binary.find()
    except binary.Missing as error:
        say(f"kubernetes is left out: {error}")
        if chosen.page is not None:
            return 1
        kinds = tuple(each for each in _SITES if each[0] is not KubernetesSite)
    else:
        kinds = _SITES
    say(f"{chosen.minutes:g} minutes, seed {chosen.seed}")
    try:
        result = soak(chosen.minutes, chosen.seed, kinds)
    except Exception:
        traceback.print_exc()
        return 1
    for line in soak_page.lines(result):
        print(line)
    if chosen.page is not None and not result.is_leaking:
        soak_page.write(chosen.page, result)
    return int(result.is_leaking)


if __name__ == "__main__":
    sys.exit(main())
