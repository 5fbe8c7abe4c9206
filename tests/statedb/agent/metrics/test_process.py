"""Metrics of the process beside those of the Prometheus client, which they replace."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from statedb.agent.metrics.process import ProcessMetrics, open_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")


def lines_of(collector: Collector) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines if not line.startswith("#"))}


def test_they_are_those_of_the_prometheus_client():
    theirs, ours = lines_of(ProcessCollector(registry=None)), lines_of(ProcessMetrics())
    assert ours.keys() == theirs.keys()
    for name in ("process_start_time_seconds", "process_max_fds"):
        assert ours[name] == theirs[name]
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes"):
        assert ours[name] == pytest.approx(theirs[name], rel=0.3, abs=0.2)


@pytest.mark.parametrize("says_size", [True, False])
def test_open_files_are_counted_as_the_kernel_does(says_size: bool, monkeypatch: pytest.MonkeyPatch):
    """The second case is a kernel before 6.2. What is opened for counting may count."""
    if not says_size:
        real = os.stat
        monkeypatch.setattr(os, "stat", lambda path: os.stat_result((*real(path)[:6], 0, *real(path)[7:])))
    before = open_files()
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(socket.socket())
        grown = open_files() - before
    assert 40 < grown < 60
