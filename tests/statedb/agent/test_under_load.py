"""Probes and scrapes while many clients are slow or silent, and with a million rows. The exact figures are printed."""

from __future__ import annotations

import gc
import http.client
import resource
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from statedb import Database
from statedb.agent.metrics.exposition import Metrics
from statedb.agent.process.agent import Agent
from statedb.agent.process.interpreter import tune_interpreter
from statedb.agent.readiness import Readiness
from statedb.catalog import TABLES, Identities, Identity, IdentityKey

from .conftest import WAIT_S

_PATHS = ("/livez", "/metrics")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def seconds_of(agent: Agent, path: str, times: int) -> list[float]:
    """How long answers took, each on a connection of its own, as kubelets ask. Fails where one does not come."""
    parts, found = urlsplit(agent.address), []
    for _ in range(times):
        started = time.perf_counter()
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT_S)
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, len(response.read()) > 0) == (200, True)
        connection.close()
        found.append(time.perf_counter() - started)
    return found


@contextmanager
def slow_clients(agent: Agent, many: int) -> Iterator[None]:
    """A third say nothing, a third send half a request, a third ask for everything and never read."""
    parts = urlsplit(agent.address)
    sockets: list[socket.socket] = []
    sent = (b"", b"GET /tables/nodes HTTP/1.1\r\nHost: localh", b"GET /dump HTTP/1.1\r\nHost: localhost\r\n\r\n")
    try:
        for number in range(many):
            each = socket.create_connection((parts.hostname, parts.port), WAIT_S)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            each.sendall(sent[number % 3])
            sockets.append(each)
        yield
    finally:
        for each in sockets:
            each.close()


def fill(db: Database, rows: int) -> None:
    with db.write(Identities) as txn:
        txn[Identities].insert_all(
            [Identity(key=IdentityKey("c1", number), labels=("k8s:app=web",)) for number in range(rows)]
        )


@pytest.fixture
def as_in_a_process_of_its_own() -> Iterator[None]:
    """The settings of the interpreter that `statedb run` makes."""
    thresholds, interval_s = gc.get_threshold(), sys.getswitchinterval()
    tune_interpreter()
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval_s)


@pytest.mark.usefixtures("as_in_a_process_of_its_own")
@pytest.mark.parametrize("many", [64, pytest.param(1000, marks=pytest.mark.stress)])
def test_probes_and_scrapes_are_answered_while_clients_are_slow(
    many: int, manifests: Path, start: Callable[..., Agent], capsys: pytest.CaptureFixture[str]
):
    agent = start(manifests)
    fill(agent.db, 20_000)
    quiet = {path: seconds_of(agent, path, 50) for path in _PATHS}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with slow_clients(agent, many):
        slow = {path: seconds_of(agent, path, 50) for path in _PATHS}
        assert agent.http_counts.opened >= many
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    if many > 64:
        figures = [f"{path}: {_figures(slow[path])}, without them {_figures(quiet[path])}" for path in _PATHS]
        with capsys.disabled():
            print(f"\n{many} slow clients: {'; '.join(figures)}; memory +{grown:.0f} MB")


def _figures(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds) * 1000:.1f} ms, longest {max(seconds) * 1000:.1f}"


@pytest.mark.stress
def test_a_scrape_of_a_million_rows_stops_no_writer(capsys: pytest.CaptureFixture[str]):
    db = Database(*TABLES)
    metrics = Metrics(db, Readiness(db))
    fill(db, 1_000_000)
    stop, commits = threading.Event(), []

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            started = time.perf_counter()
            with db.write(Identities) as txn:
                txn[Identities].insert(Identity(key=IdentityKey("c1", number % 100), labels=(f"k8s:n={number}",)))
            commits.append(time.perf_counter() - started)

    writer = threading.Thread(target=write)
    quiet = sorted(_times(lambda: metrics.expose(OPENMETRICS), 100))
    writer.start()
    busy = sorted(_times(lambda: metrics.expose(OPENMETRICS), 100))
    stop.set()
    writer.join()
    with capsys.disabled():
        print(
            f"\na scrape of a million rows: {quiet[50] * 1000:.1f} ms (median), {quiet[99] * 1000:.1f} ms (longest); "
            f"beside a writer {busy[50] * 1000:.1f} and {busy[99] * 1000:.1f} ms; {len(commits)} commits meanwhile, "
            f"{statistics.median(commits) * 1e6:.0f} us (median), {max(commits) * 1000:.1f} ms (longest)"
        )
    assert quiet[50] < 0.02
    assert len(commits) > 100


def _times(function: Callable[[], object], times: int) -> list[float]:
    found = []
    for _ in range(times):
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
    return found
