"""Probes and scrapes while many clients are slow or silent, and with a million rows. The exact figures are printed."""

from __future__ import annotations

import gc
import http.client
import os
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from statedb import Database
from statedb.agent.metrics.exposition import Metrics
from statedb.agent.process.agent import Agent
from statedb.agent.process.interpreter import tune_interpreter
from statedb.agent.readiness import Readiness
from statedb.catalog import TABLES, Identities, Identity, IdentityKey

from ...waiting import eventually
from .conftest import WAIT_S, identity

_PATHS = ("/livez", "/metrics")
CUT_S = 13.0
"""After this time no slow client is left: each has 10 seconds for its request, and 10 to read."""
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
ROWS = 20_000
Figures = dict[str, list[float]]
"""Of each path, how many seconds each answer took."""


def seconds_of(address: str, path: str, times: int) -> list[float]:
    """How long answers took, each on a connection of its own, as kubelets ask. Fails where one does not come."""
    parts, found = urlsplit(address), []
    for _ in range(times):
        started = time.perf_counter()
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT_S)
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, len(response.read()) > 0) == (200, True)
        connection.close()
        found.append(time.perf_counter() - started)
    return found


def figures_of(address: str) -> Figures:
    return {path: seconds_of(address, path, 50) for path in _PATHS}


@contextmanager
def slow_clients(address: str, many: int) -> Iterator[None]:
    """A third say nothing, a third send half a request, a third ask for everything and never read."""
    parts = urlsplit(address)
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
def test_probes_and_scrapes_are_answered_while_clients_are_slow(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    fill(agent.db, ROWS)
    with slow_clients(agent.address, 64):
        figures_of(agent.address)
        assert agent.http_counts.opened >= 64


class Measured(NamedTuple):
    quiet: Figures
    slow: Figures
    grown_mb: float


def _ahead_of_others() -> bool:
    """Whether other programs of the machine do not count: with ``chrt -f 1``."""
    return os.sched_getscheduler(0) == os.SCHED_FIFO


def _until(end: float) -> Iterator[None]:
    while time.monotonic() < end:
        yield


def measure(folder: Path, many: int, *, probes: bool, cut: bool) -> Measured:
    """Of an agent in a process of its own, by the listener for everything or by that for probes.

    ``cut``: go on until the slow clients have been disconnected.
    """
    folder.mkdir()
    with (folder / "identities.yaml").open("w") as file:
        file.write("---\n".join(map(identity, range(1000, 1000 + ROWS))))
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        main, other = one.getsockname()[1], two.getsockname()[1]
    config = folder / "agent.yml"
    config.write_text(
        f"cluster: {{name: c1, id: 1}}\ningest: {{manifests: {{directory: '{folder}'}}}}\n"
        f"http: {{listen: '127.0.0.1:{main}', probes: '127.0.0.1:{other}'}}\n"
    )
    everything, asked = f"http://127.0.0.1:{main}", f"http://127.0.0.1:{other if probes else main}"
    command = [sys.executable, "-m", "statedb", "run", "-c", str(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as agent:
        try:
            if _ahead_of_others():  # of these clients too: they are other machines
                os.sched_setscheduler(agent.pid, os.SCHED_FIFO, os.sched_param(2))
            eventually(lambda: answers_ready(main), "an agent that is ready")
            quiet, memory_mb = figures_of(asked), resident_mb(agent.pid)
            began = time.monotonic()
            with slow_clients(everything, many):
                slow = figures_of(asked)
                if cut:
                    seconds_of_all = [figures_of(asked) for _ in _until(began + CUT_S)]
                    slow = {path: sum([each[path] for each in seconds_of_all], slow[path]) for path in slow}
                grown_mb = resident_mb(agent.pid) - memory_mb
        finally:
            agent.terminate()
    return Measured(quiet, slow, grown_mb)


def answers_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


@pytest.mark.stress
@pytest.mark.parametrize("many", [64, 1000])
@pytest.mark.parametrize("probes", [False, True], ids=["http.listen", "http.probes"])
def test_how_fast_probes_and_scrapes_are_beside_slow_clients(
    many: int, probes: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    runs = [measure(tmp_path / str(run), many, probes=probes, cut=run == 0 and not probes) for run in range(3)]
    where = "http.probes" if probes else "http.listen"
    with capsys.disabled():
        print(f"\n{many} slow clients, {where}, load {os.getloadavg()[0]:.0f}: worst of three runs")
        for path in _PATHS:
            quiet, slow = _worst([run.quiet[path] for run in runs]), _worst([run.slow[path] for run in runs])
            first = max(run.slow[path][0] for run in runs) * 1000
            print(f"  {path}: {slow}, the first {first:.0f} ms; without them {quiet}")
        print(f"  memory +{max(run.grown_mb for run in runs):.0f} MB")
    assert max(run.grown_mb for run in runs) < 20 + 0.2 * many
    if _ahead_of_others():
        assert [each for run in runs for path in _PATHS for each in run.slow[path] if each > 0.1] == []


def _worst(runs: list[list[float]]) -> str:
    """The worst median, and the longest of all."""
    return f"median {max(map(statistics.median, runs)) * 1000:.0f} ms, longest {max(map(max, runs)) * 1000:.0f} ms"


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
