"""What processes take, second by second, and what the API server says of itself (its metrics)."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from tests.apiserver.server import ApiServer

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LINE = re.compile(r"^(?P<name>[a-z_:]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>[-+0-9.eE]+|NaN)$", re.MULTILINE)
_LABEL = re.compile(r'([a-z_]+)="([^"]*)"')

OFFLOADED = frozenset(
    {
        "ciliumnodes",
        "ciliumidentities",
        "ciliumendpoints",
        "ciliumendpointslices",
        "services",
        "endpointslices",
        "namespaces",
    }
)
"""The resources that agents need not watch where a publisher does."""


class Sample(NamedTuple):
    """Of one process, or of several together: cores in use since the last sample, resident bytes, at which second."""

    at: float
    cores: float
    resident: int


class Sampler:
    """Looks at groups of processes once a second while the block runs."""

    def __init__(self, groups: Mapping[str, Callable[[], list[int]]], extra: Callable[[], float] | None = None) -> None:
        """``groups`` gives process numbers by name; ``extra`` is any one number to be noted along."""
        self._groups = groups
        self._extra = extra
        self.samples: dict[str, list[Sample]] = {name: [] for name in groups}
        self.extra: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        begun, before = time.monotonic(), dict[int, float]()
        last = begun
        while not self._over.wait(1.0):
            now = time.monotonic()
            for name, pids in self._groups.items():
                used, resident = 0.0, 0
                for pid in pids():
                    seconds, held = taken(pid)
                    used += seconds - before.get(pid, seconds)
                    before[pid] = seconds
                    resident += held
                self.samples[name].append(Sample(now - begun, used / (now - last), resident))
            if self._extra is not None:
                self.extra.append((now - begun, self._extra()))
            last = now


def taken(pid: int) -> tuple[float, int]:
    """Seconds of CPU that a process has used, and its resident bytes; zeros where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * _PAGE
    except (OSError, IndexError):
        return 0.0, 0


class Metrics:
    """The metrics of an API server at one moment."""

    def __init__(self, server: ApiServer) -> None:
        text = str(server.rest().get("/metrics"))
        self._lines = [
            (found["name"], dict(_LABEL.findall(found["labels"] or "")), float(found["value"]))
            for found in _LINE.finditer(text)
        ]

    def total(self, name: str, by: str, **wanted: str) -> dict[str, float]:
        """The sums of a metric by one label, of those with these labels."""
        sums: dict[str, float] = {}
        for each, labels, value in self._lines:
            if each == name and all(labels.get(label) == text for label, text in wanted.items()):
                key = labels.get(by, "")
                sums[key] = sums.get(key, 0.0) + value
        return sums

    def events(self) -> dict[str, float]:
        """Watch events sent so far, by resource."""
        return self.total("apiserver_watch_events_total", "resource")

    def watches(self) -> dict[str, float]:
        """Watch connections that are open now, by resource."""
        return self.total("apiserver_longrunning_requests", "resource", verb="WATCH")

    def cpu_s(self) -> float:
        """Seconds of CPU that the server has used."""
        return sum(self.total("process_cpu_seconds_total", "").values())

    def latencies(self, *verbs: str) -> dict[float, float]:
        """How many requests took at most so many seconds, so far."""
        sums: dict[float, float] = {}
        for verb in verbs:
            for edge, count in self.total("apiserver_request_duration_seconds_bucket", "le", verb=verb).items():
                sums[float(edge)] = sums.get(float(edge), 0.0) + count
        return sums


def quantile_of(before: Mapping[float, float], after: Mapping[float, float], share: float) -> float:
    """Seconds below which that share of the requests between two moments stayed; the edge of a bucket."""
    counts = {edge: after[edge] - before.get(edge, 0.0) for edge in sorted(after)}
    whole = max(counts.values(), default=0.0)
    return next((edge for edge, count in counts.items() if whole and count >= share * whole), 0.0)


def difference(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """What came in between, by name; what did not move is left out."""
    moved = {name: value - before.get(name, 0.0) for name, value in after.items()}
    return {name: value for name, value in moved.items() if value}
