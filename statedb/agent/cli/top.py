"""``statedb top``: the rates of a running agent, live in the terminal, from the stream of the web page."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from ..client.remote import Remote
from ..wording import printable

_SECONDS = 5


def top(remote: Remote, *, once: bool) -> None:
    """Show the tables and consumers every second until Ctrl-C; with ``once``, one time without clearing the screen."""
    samples: deque[Any] = deque(maxlen=_SECONDS + 1)
    lines = _samples(remote)
    if once:
        samples += [next(lines), next(lines)]
        Console().print(_screen(samples))
        return
    with Live(screen=True, auto_refresh=False) as live:
        for sample in lines:
            samples.append(sample)
            live.update(_screen(samples), refresh=True)


def _samples(remote: Remote) -> Iterator[Any]:
    for line in remote.lines("/live"):
        if line["event"] == "sample":
            yield line


def _screen(samples: deque[Any]) -> Group:
    last = samples[-1]
    parts: list[Any] = [Text(_summary(last["status"]), style="bold"), _tables(samples)]
    if last["status"]["consumers"]:
        parts.append(_consumers(last["status"]["consumers"]))
    return Group(*parts)


def _summary(status: Any) -> str:
    failures, missing, stale = status["failures"], status["missing"], status["stale"]
    if failures:
        return printable("failed: " + "; ".join(failures))
    if missing:
        return printable("not ready: " + "; ".join([" ".join(each.values()) for each in missing]))
    return "ready" if not stale else printable("ready; stale: " + ", ".join([each["table"] for each in stale]))


def _tables(samples: deque[Any]) -> Grid:
    first, last = samples[0], samples[-1]
    seconds = max(0.1, last["t"] - first["t"])
    grid = _grid("TABLE", "ROWS", "REVISION", "CHANGES/S", "COMMITS/S")
    for name, (rows, revision, commits) in last["tables"].items():
        _, before, commits_before = first["tables"].get(name, (0, revision, commits))
        changes = max(0, revision - before) / seconds
        rate = max(0, commits - commits_before) / seconds
        style = "bold" if changes else ""
        grid.add_row(name, f"{rows}", f"{revision}", f"{changes:.1f}", f"{rate:.1f}", style=style)
    return grid


def _consumers(consumers: list[Any]) -> Grid:
    grid = _grid("CONSUMER", "QUEUE", "READY", "HEALTH")
    for each in consumers:
        good = each["health"].startswith("OK") and each["ready"]
        ready = "yes" if each["ready"] else "no"
        health = Text(printable(each["health"]), style="green" if good else "red")
        grid.add_row(each["consumer"], f"{each['queue']}", ready, health)
    return grid


def _grid(first: str, *columns: str) -> Grid:
    grid = Grid(first, box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        grid.add_column(name, justify="left" if name in ("READY", "HEALTH") else "right")
    return grid
