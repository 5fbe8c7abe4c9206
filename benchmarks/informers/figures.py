"""The table: a line for each client, and the reason where there is a figure missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..cfp44774.page import table, whole
from .measure import RATES, Run, medians

_HEADS = (
    "client",
    "runs",
    "CPU to synced",
    "wall clock",
    "memory",
    *(f"CPU an event, {rate:g}/s" for rate in RATES),
    "after a restart",
    "its CPU",
    "look-ups a second: a pod",
    "30 pods of a node",
)


def table_of(found: Mapping[str, Sequence[Run]], failed: Mapping[str, str]) -> str:
    """Medians of each client's runs. ``failed`` has the reasons of those that have none."""
    rows = [_row(name, runs) if runs else _missing(name, failed.get(name, "not yet")) for name, runs in found.items()]
    return table(_HEADS, rows)


def _missing(name: str, why: str) -> list[str]:
    return [name, "0", f"not measured: {why}", *[""] * (len(_HEADS) - 3)]


def _event(seconds: float, reached: float, rate: float) -> str:
    """With the rate, where the server did not come to the one that was asked for."""
    return f"{seconds * 1e6:.0f} µs" + (f" ({reached:.0f}/s)" if reached < 0.9 * rate else "")


def _row(name: str, runs: Sequence[Run]) -> list[str]:
    run = medians(runs)
    events = [_event(*each) for each in zip(run.event_s, run.reached, RATES)]
    events += [run.failed] * (len(RATES) - len(events))
    back = f"no: {run.failed}" if run.back_s is None else f"{run.back_s:.1f} s"
    back_cpu = "" if run.back_cpu_s is None else f"{run.back_cpu_s:.2f} s"
    return [
        name,
        str(len(runs)),
        f"{run.cpu_s:.2f} s",
        f"{run.wall_s:.1f} s",
        f"{run.resident / 1e6:.0f} MB",
        *events,
        back,
        back_cpu,
        whole(run.by_name) if run.by_name else "none",
        whole(run.by_node) if run.by_node else "no index",
    ]
