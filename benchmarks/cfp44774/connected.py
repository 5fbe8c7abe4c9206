"""``python -m benchmarks.cfp44774.connected``: the API server with up to 1 000 agents' watches really connected.

The agents are watch connections of a small Go program that throws away what comes, so that one machine carries them:
in CRD mode each has one for each resource that it needs, in mesh mode for the policies alone, beside one publisher.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from tests.apiserver.server import ApiServer

from ..golang import Missing, go_program
from ..harness import require, surroundings
from ..report import with_block
from .load import Load
from .mode import say
from .page import PAGE, cores, table, whole
from .plan import PODS_OF_A_DEPLOYMENT, Plan
from .probes import Metrics, difference, taken

_POLICIES = ("/apis/cilium.io/v2/ciliumnetworkpolicies", "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies")
_OFFLOADED = (
    "/apis/cilium.io/v2/ciliumnodes",
    "/apis/cilium.io/v2/ciliumidentities",
    "/apis/cilium.io/v2alpha1/ciliumendpointslices",
    "/api/v1/services",
    "/api/v1/namespaces",
    "/apis/discovery.k8s.io/v1/endpointslices",
)


class Connected(msgspec.Struct):
    """What the API server did for so many agents: at rest, and under the load."""

    mode: str
    agents: int
    watches: int
    pods_a_second: float
    seconds: float
    events: float
    cpu_s: float
    rest_cores: float
    resident: int

    @property
    def load_s(self) -> float:
        """CPU seconds for the load: beyond what the server takes at rest in the same time."""
        return self.cpu_s - self.rest_cores * self.seconds


@click.command(help="Events and CPU at an API server with watches really connected; some 10 minutes.")
@click.option("--agents", type=int, multiple=True, default=(0, 20, 200, 1000), show_default=True)
@click.option("--rate", type=click.FloatRange(1), default=10.0, show_default=True, help="Pods a second.")
@click.option("--seconds", type=click.FloatRange(5), default=30.0, show_default=True, help="Of load.")
@click.option("--json", "path", type=click.Path(dir_okay=False), help="Append every run as a JSON line.")
@click.option("--report", is_flag=True, help="Write the table into docs/scale.md.")
@click.option("--from", "source", type=click.Path(exists=True), help="Take the runs of this file as well.")
def main(
    agents: Sequence[int], rate: float, seconds: float, path: str | None, report: bool, source: str | None
) -> None:
    """See the help text."""
    try:
        program = go_program("watchers_go")
    except Missing as error:
        raise click.ClickException(str(error)) from None
    runs = [("crd", each) for each in agents] + [("mesh", max(agents))] if max(agents) else []
    found = []
    if source is not None:
        found = [msgspec.json.decode(line, type=Connected) for line in Path(source).read_bytes().splitlines()]
    for mode, number in runs:
        found.append(run(program, mode, number, rate, seconds))
        say(f"{mode}, {number} agents: {found[-1].events:.0f} events, {found[-1].load_s:.2f} s of CPU")
        if path is not None:
            with Path(path).open("ab") as file:
                file.write(msgspec.json.encode(found[-1]) + b"\n")
    said = table_of(found)
    click.echo(said)
    if report:
        around = surroundings()
        text = f"{around['cpus']} cores, commit {around['commit']}; `make bench-watchers`.\n\n{said}"
        PAGE.write_text(with_block(PAGE.read_text(), "connected", text))


def run(program: Path, mode: str, agents: int, rate: float, seconds: float) -> Connected:
    """One API server with so many agents, at rest for a while and then under the load."""
    deployments = max(1, round(rate * seconds / PODS_OF_A_DEPLOYMENT))
    plan = Plan(nodes=100, agents=agents, namespaces=20, deployments=deployments, pods_a_second=rate, cycles=1)
    with ApiServer() as server:
        server.start()
        before_all = Load(server, plan)
        before_all.prepare()
        before_all.close()
        groups = [(agents, (*_OFFLOADED, *_POLICIES))] if mode == "crd" else [(1, _OFFLOADED), (agents, _POLICIES)]
        begun = time.monotonic()
        with watching(program, server, groups) as watches:
            say(f"{mode}: {watches} watches are connected after {time.monotonic() - begun:.0f} s")
            time.sleep(10.0)  # until the server is done with the connecting
            load = Load(server, plan)  # on connections of its own: the first ones have been idle for too long
            rest, at_rest = Metrics(server), time.monotonic()
            time.sleep(20.0)
            before, begun = Metrics(server), time.monotonic()
            reached = load.create(plan.cycle(0))
            time.sleep(5.0)  # until the last event is sent
            after, ended = Metrics(server), time.monotonic()
            resident = taken(server.pid)[1]
            load.close()
    return Connected(
        mode=mode,
        agents=agents,
        watches=watches,
        pods_a_second=reached,
        seconds=ended - begun,
        events=sum(difference(after.events(), before.events()).values()),
        cpu_s=after.cpu_s() - before.cpu_s(),
        rest_cores=(before.cpu_s() - rest.cpu_s()) / (begun - at_rest),
        resident=resident,
    )


def table_of(runs: Sequence[Connected]) -> str:
    """What was measured, and beside it what the run with the fewest agents would have said of those with more."""
    alone = next((each for each in runs if not each.agents), None)
    few = next((each for each in runs if each.agents and each.mode == "crd"), None)
    rows = []
    for each in runs:
        events, used, an_event = "", "", ""
        if alone is not None and each.mode == "crd" and each.agents:
            an_event = f"{(each.load_s - alone.load_s) / each.events * 1e6:.0f} µs"
        if alone is not None and few is not None and each.mode == "crd" and each.agents > few.agents:
            factor = each.agents / few.agents
            events = whole(few.events * factor)
            used = f"{alone.load_s + (few.load_s - alone.load_s) * factor:.1f} s"
        rows.append(
            (
                f"{'CRD' if each.mode == 'crd' else each.mode} mode, {whole(each.agents)}",
                whole(each.watches),
                f"{each.pods_a_second:.0f}",
                whole(each.events),
                events,
                f"{each.load_s:.1f} s",
                used,
                an_event,
                cores(each.rest_cores),
                f"{each.resident / 1e6:.0f} MB",
            )
        )
    fewest = f"from {few.agents}" if few is not None else ""
    heads = ("agents", "watches", "pods a second", "events", fewest, "CPU", fewest, "CPU an event", "at rest", "memory")
    return table(heads, rows)


@contextmanager
def watching(program: Path, server: ApiServer, groups: Sequence[tuple[int, Sequence[str]]]) -> Iterator[int]:
    """The watches of some groups of agents, all connected; how many there are."""
    running = list[subprocess.Popen[str]]()
    try:
        watches = 0
        for agents, paths in groups:
            urls = [f"{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds=3600" for path in paths]
            command = [str(program), server.url, str(server.ca), server.token(), str(agents), *urls]
            running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            assert running[-1].stdout is not None
            said = running[-1].stdout.readline()
            require(said.startswith("connected "), f"the watches are connected: {said!r}")
            watches += int(said.split()[1])
        yield watches
        for each in running:
            said, _ = each.communicate()
            require(said.startswith("events "), "all watches stood until the end")
    finally:
        for each in running:
            each.kill()
            each.communicate()


if __name__ == "__main__":
    main()
