"""What one client takes on an API server with pods: until it has them, for each event, and after a restart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import msgspec

from tests.apiserver.server import ApiServer

from .load import Load
from .process import Failed, Follower

RATES = (100.0, 500.0)
"""Changes a second."""

_WARM = 50
_RECOVER_S = 60.0
_SLOW_S = 30.0


class Run(msgspec.Struct, kw_only=True):
    """One run of a client, or the medians of some.

    ``event_s``: CPU seconds of an event at each of `RATES`, and what these came to in ``reached``. ``back_s``: from the
    restarted server's first answers until a write after them was seen; ``back_cpu_s``: the client's CPU from the
    server's end until then. They are None where that was never seen; ``failed`` has the reason.
    """

    cpu_s: float
    wall_s: float
    resident: int
    event_s: tuple[float, ...] = ()
    reached: tuple[float, ...] = ()
    by_name: float = 0.0
    by_node: float = 0.0
    back_s: float | None = None
    back_cpu_s: float | None = None
    failed: str = ""

    @property
    def slow(self) -> bool:
        """Whether it takes too long to be measured again, or with more pods, or does not follow changes."""
        return self.wall_s > _SLOW_S or len(self.event_s) < len(RATES)


def measure(server: ApiServer, load: Load, name: str, go_program: str, changes: int, *, restart: bool) -> Run:
    """A client from its start, to its recovery from a restart if asked. Raises Failed if it never has the pods."""
    with Follower(server, name, go_program) as follower:
        synced = follower.synced(load.pods)
        run = Run(cpu_s=synced.cpu_s, wall_s=synced.wall_s, resident=synced.resident)
        try:
            before = follower.until(load.change(_WARM, RATES[0])[0])
            for rate in RATES:
                last, reached = load.change(changes, rate)
                after = follower.until(last)
                run.event_s += ((after.cpu_s - before.cpu_s) / changes,)
                run.reached += (reached,)
                before = after
            found = follower.lookups(load.pods)
            run.by_name, run.by_node = found.by_name, found.by_node
            if restart:
                _restart(server, load, follower, run)
        except Failed as error:
            run.failed = str(error)
        finally:
            if not server.is_running:
                server.start()
    return run


def _restart(server: ApiServer, load: Load, follower: Follower, run: Run) -> None:
    before = follower.until(load.change(1, RATES[0])[0])
    server.kill()
    server.start()
    begun = time.monotonic()
    after = follower.until(load.change(1, RATES[0])[0], _RECOVER_S)
    run.back_s, run.back_cpu_s = time.monotonic() - begun, after.cpu_s - before.cpu_s


def medians(runs: Sequence[Run]) -> Run:
    """Of the runs of one client, figure by figure. The restart is that of the first run."""
    first, whole = runs[0], [each for each in runs if len(each.event_s) == len(RATES)] or runs
    return Run(
        cpu_s=median(each.cpu_s for each in runs),
        wall_s=median(each.wall_s for each in runs),
        resident=round(median(each.resident for each in runs)),
        event_s=tuple(median(each) for each in zip(*(each.event_s for each in whole))),
        reached=tuple(median(each) for each in zip(*(each.reached for each in whole))),
        by_name=median(each.by_name for each in whole),
        by_node=median(each.by_node for each in whole),
        back_s=first.back_s,
        back_cpu_s=first.back_cpu_s,
        failed=first.failed,
    )
