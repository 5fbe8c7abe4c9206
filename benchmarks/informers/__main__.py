"""``python -m benchmarks.informers``: CPU and memory of each client, by turns on one API server with pods of 5 KB."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import msgspec

from tests.apiserver.server import ApiServer

from ..cfp44774.load import Writer
from ..cfp44774.page import table
from ..harness import surroundings
from ..report import with_block
from .clients import CLIENTS
from .follower import WARM, Step

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
_PODS = "/api/v1/namespaces/default/pods"
_WRITERS = 4
_LONGEST_S = 120.0
_PADDING = 3_300  # so that a pod as served, with its managed fields, has some 5 KB


class Failed(Exception):
    """A client did not run; the message says why."""


@click.command(help="CPU and memory of clients that follow pods; some ten minutes.")
@click.option("--pods", type=click.IntRange(10), default=5_000, show_default=True)
@click.option("--changes", type=click.IntRange(10), default=1_000, show_default=True)
@click.option("--rate", type=click.FloatRange(1), default=100.0, show_default=True, help="Changes a second.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True)
@click.option("--report", is_flag=True, help="Write the table into docs/performance.md.")
def main(pods: int, changes: int, rate: float, repeat: int, report: bool) -> None:
    """See the help text."""
    found: dict[str, list[tuple[Step, Step, Step]]] = {name: [] for name in CLIENTS}
    failed: dict[str, str] = {}
    with ApiServer(crds=False) as server, ThreadPoolExecutor(_WRITERS) as writers:
        server.start()
        size = fill(server, writers, pods)
        click.echo(f"{pods} pods of {size} bytes", err=True)
        for number in range(repeat):
            for name in [each for each in found if each not in failed]:
                try:
                    found[name].append(measure(server, name, pods, changes, rate))
                except Failed as error:
                    failed[name] = str(error)
                click.echo(f"{number + 1}: {name}: {failed.get(name) or found[name][-1]}", err=True)
    text = table_of(found, failed, changes)
    click.echo(text)
    if report:
        around = surroundings()
        where = f"Python {around['python']}, {around['cpus']} shared cores, commit {around['commit']}"
        said = f"{where}; {pods} pods of {size} bytes, {rate:g} changes a second, medians of {repeat}"
        PAGE.write_text(with_block(PAGE.read_text(), "informers", f"{said}.\n\n{text}"))


def fill(server: ApiServer, writers: ThreadPoolExecutor, pods: int) -> int:
    """Create the pods through the front door; how large one is as served."""

    def create(lane: int) -> None:
        writer = Writer(server)
        for number in range(lane, pods, _WRITERS):
            writer.send("POST", _PODS, pod(number))

    list(writers.map(create, range(_WRITERS)))
    return len(msgspec.json.encode(server.rest().get(f"{_PODS}/pod-0")))


def pod(number: int) -> dict[str, Any]:
    """One of thirty on its node."""
    metadata = {"name": f"pod-{number}", "labels": {"app": f"app-{number % 100}"}, "annotations": {"a": "x" * _PADDING}}
    spec = {"nodeName": f"node-{number // 30}", "containers": [{"name": "main", "image": "web:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def measure(server: ApiServer, name: str, pods: int, changes: int, rate: float) -> tuple[Step, Step, Step]:
    """A client from its start until all is there, and then until all changes have come. Raises Failed."""
    where = [str(server.kubeconfig()), server.url, str(server.ca), server.token()]
    command = [sys.executable, "-m", "benchmarks.informers.follower", name, *where, str(pods), str(changes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            steps = _steps(process)
            synced = next(steps)
            time.sleep(1.0)  # its watch stands now
            writer, begun = Writer(server), time.monotonic()
            for number in range(WARM + changes):
                time.sleep(max(0.0, begun + number / rate - time.monotonic()))
                status = {"phase": "Running", "message": f"{begun} {number}"}
                writer.send("PUT", f"{_PODS}/pod-{number % pods}/status", {**pod(number % pods), "status": status})
            return synced, next(steps), next(steps)
        finally:
            process.kill()


def _steps(process: subprocess.Popen[str]) -> Iterator[Step]:
    """What the process says. Raises Failed if it says that it cannot run, or says nothing for too long."""
    assert process.stdout is not None
    with ThreadPoolExecutor(1) as reader:
        while True:
            line = reader.submit(process.stdout.readline)
            try:
                said = line.result(_LONGEST_S)
            except TimeoutError:
                process.kill()
                raise Failed(f"not done after {_LONGEST_S:g} s") from None
            if not said.startswith("{"):
                raise Failed(said.strip() or "it ended")
            yield msgspec.json.decode(said, type=Step)


def table_of(found: dict[str, list[tuple[Step, Step, Step]]], failed: dict[str, str], changes: int) -> str:
    """Medians, and who was left out."""
    rows = []
    for name, runs in found.items():
        if name in failed:
            rows.append((name, f"not measured: {failed[name]}", "", ""))
            continue
        synced = statistics.median(first.cpu_s for first, *_ in runs)
        memory = statistics.median(first.resident for first, *_ in runs)
        each = statistics.median((last.cpu_s - warm.cpu_s) / changes for _, warm, last in runs)
        rows.append((name, f"{synced:.2f} s", f"{memory / 1e6:.0f} MB", f"{each * 1e6:.0f} µs"))
    return table(("client", "CPU to synced", "memory", "CPU an event"), rows)


if __name__ == "__main__":
    main()
