"""One run of one mode on servers of its own: agents on the API server, or a publisher, its etcd and agents on that."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from ingest.etcd.local import LocalEtcd
from statedb.agent.client.remote import Remote
from statedb.agent.errors import AgentError
from tests.apiserver.server import ApiServer

from ..harness import require
from .load import Load
from .plan import CLUSTER, CLUSTER_ID, Deployment, Plan
from .probes import OFFLOADED, Metrics, Sample, Sampler, difference, quantile_of
from .watcher import Seen

Mode = Literal["crd", "mesh"]

_ROOT = Path(__file__).parents[2]
_START_S = 120.0
_DRAIN_S = 10.0
_WRITES = ("POST", "PUT", "DELETE")
_TABLES = "nodes, identities, endpoints, services, backends, namespaces"


class Delays(msgspec.Struct):
    """Seconds from a pod's creation until an agent's ipcache answers for it and the policy's selector includes it.

    Over all pods and all agents; those that were not seen count as infinite. ``unseen`` says how many these are.
    """

    count: int
    unseen: int
    p50: float
    p90: float
    p99: float
    accepted_p50: float
    """The same from the moment at which the API server had accepted the write."""


class Result(msgspec.Struct):
    """What a run gave. Samples are of the time from the first creation on; cores and bytes."""

    mode: Mode
    rate_limit: float
    plan: Plan
    pods_a_second: float
    events: dict[str, float]
    watches: dict[str, float]
    server_cpu_s: float
    seconds: float
    latency_p50: float
    latency_p99: float
    delays: Delays
    left_behind: int
    drained_s: float | None
    queue_most: float
    samples: dict[str, list[Sample]]
    queue: list[tuple[float, float]]

    @property
    def offloaded_events(self) -> float:
        """Watch events sent for the resources that a publisher takes over."""
        return sum(count for name, count in self.events.items() if name in OFFLOADED)

    @property
    def offloaded_watches(self) -> float:
        """Watches open for them."""
        return sum(count for name, count in self.watches.items() if name in OFFLOADED)


def run(mode: Mode, plan: Plan, *, rate_limit: float = 0.0, deletes: bool = True) -> Result:
    """``rate_limit``: the publisher's, writes a second, 0 for none. Without ``deletes`` it ends after the creation."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cfp44774-")))
        server = stack.enter_context(ApiServer())
        server.start()
        load = Load(server, plan)
        stack.callback(load.close)
        say(f"{mode}: {plan.namespaces} namespaces, {plan.nodes} nodes")
        load.prepare()
        quiet = Metrics(server).watches()
        groups: dict[str, Any] = {"API server": lambda: [server.pid], "its etcd": lambda: [server.etcd.pid]}
        publisher: _Process | None = None
        ingest = f"kubernetes: {{kubeconfig: '{server.kubeconfig()}', endpoint-slices: true}}"
        if mode == "mesh":
            etcd = stack.enter_context(LocalEtcd())
            etcd.start()
            publisher = stack.enter_context(_publisher(directory, ingest, etcd.endpoint, rate_limit))
            policies = f"kubernetes: {{kubeconfig: '{server.kubeconfig()}', tables: [policies]}}"
            ingest = f"clustermesh: {{endpoints: ['{etcd.endpoint}']}}, {policies}"
            pid = publisher.process.pid
            groups |= {"publisher": lambda: [pid], "mesh etcd": lambda: [etcd.pid]}
        agents = [stack.enter_context(_agent(directory, number, ingest)) for number in range(plan.agents)]
        for each in agents:
            each.wait_for("synced")
        say(f"{mode}: {len(agents)} agents are synced; {plan.pods} pods at {plan.pods_a_second:g} a second")
        groups |= {f"agent {number}": _group(each) for number, each in enumerate(agents)}
        before = Metrics(server)
        watches = {name: count - quiet.get(name, 0.0) for name, count in before.watches().items()}
        sampler = Sampler(groups, publisher.queue_size if publisher else None)
        began = time.monotonic()
        rates, drained = [], list[float | None]()
        with sampler:
            for number in range(plan.cycles):
                deployments = plan.cycle(number)
                rates.append(load.create(deployments))
                drained.append(_drained(publisher))
                say(f"{mode}: cycle {number + 1}: created at {rates[-1]:.0f} pods a second")
                if deletes:
                    load.delete(deployments)
                    _drained(publisher)
        seconds = time.monotonic() - began
        after = Metrics(server)
        seen = [each.end() for each in agents]
        old, new = before.latencies(*_WRITES), after.latencies(*_WRITES)
        pods = [each for number in range(plan.cycles) for each in plan.cycle(number)]
        return Result(
            mode=mode,
            rate_limit=rate_limit,
            plan=plan,
            pods_a_second=min(rates),
            events=_to_clients(difference(after.events(), before.events()), watches, quiet),
            watches={name: count for name, count in watches.items() if count},
            server_cpu_s=after.cpu_s() - before.cpu_s(),
            seconds=seconds,
            latency_p50=quantile_of(old, new, 0.5),
            latency_p99=quantile_of(old, new, 0.99),
            delays=_delays(pods, load, seen),
            left_behind=_left_behind(pods, seen) if deletes else 0,
            drained_s=None if None in drained else max([each for each in drained if each is not None]),
            queue_most=max([size for _, size in sampler.extra], default=0.0),
            samples=sampler.samples,
            queue=sampler.extra,
        )


def say(text: str) -> None:
    """Progress, to stderr."""
    print(f"  {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


# -- processes --------------------------------------------------------------------------------------------------------


class _Process:
    """A process that tells on its standard output how far it is."""

    def __init__(self, command: list[str], result: Path, address: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, cwd=_ROOT, start_new_session=True
        )
        self._result = result
        self._remote = Remote(address)

    def wait_for(self, word: str) -> None:
        """A line that begins so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return
        raise AssertionError(f"{self.process.args!r} ended and never said {word!r}")

    def queue_size(self) -> float:
        """Keys that the publisher has still to write."""
        try:
            (told,) = self._remote.json("/consumers")["consumers"]
        except AgentError:
            return float("nan")
        return float(told["queue"])

    def wait_ready(self) -> None:
        """All consumers have done their first work."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                self._remote.json("/readyz")
            except AgentError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"{self.process.args!r} is not ready")

    def end(self) -> Seen:
        """Ask it to end; what it has seen."""
        self.process.send_signal(signal.SIGTERM)
        require(self.process.wait(60) == 0, "the agent ended well")
        return msgspec.msgpack.decode(self._result.read_bytes(), type=Seen)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextmanager
def _agent(directory: Path, number: int, ingest: str) -> Iterator[_Process]:
    name = f"agent-{number}"
    config = _write(directory, name, ingest, "ipcache, selectors")
    command = ["benchmarks.cfp44774.watcher", str(config), str(directory / f"{name}.seen")]
    process = _Process(command, directory / f"{name}.seen", _socket(directory, name))
    try:
        yield process
    finally:
        process.close()


@contextmanager
def _publisher(directory: Path, ingest: str, endpoint: str, rate_limit: float) -> Iterator[_Process]:
    ingest = ingest.replace("endpoint-slices: true", f"endpoint-slices: true, tables: [{_TABLES}]")
    limit = f", writes-per-s: {rate_limit:g}" if rate_limit else ""
    consumers = f"publisher: {{etcd: {{endpoints: ['{endpoint}']}}{limit}}}"
    config = _write(directory, "publisher", ingest, consumers)
    process = _Process(["statedb", "run", "-c", str(config)], config, _socket(directory, "publisher"))
    try:
        process.wait_for("synced")
        process.wait_ready()
        yield process
    finally:
        process.close()


def _write(directory: Path, name: str, ingest: str, consumers: str) -> Path:
    path = directory / f"{name}.yaml"
    path.write_text(
        f"cluster: {{name: {CLUSTER}, id: {CLUSTER_ID}}}\ningest: {{{ingest}}}\nconsumers: [{consumers}]\n"
        f"http: {{listen: '{_socket(directory, name)}'}}\nlog-level: error\n"
    )
    return path


def _socket(directory: Path, name: str) -> str:
    return f"unix:{directory}/{name}.sock"


def _group(process: _Process) -> Any:
    return lambda: [process.process.pid]


# -- what came of it --------------------------------------------------------------------------------------------------


def _drained(publisher: _Process | None) -> float | None:
    """Seconds until nothing waits to be published, and a moment more for the agents; None if that took too long."""
    begun = time.monotonic()
    took: float | None = 0.0
    if publisher is not None:
        took = None
        while time.monotonic() < begun + _DRAIN_S:
            if publisher.queue_size() == 0:
                took = time.monotonic() - begun
                break
            time.sleep(0.05)
    time.sleep(2.0)
    return took


def _to_clients(events: dict[str, float], watches: dict[str, float], quiet: dict[str, float]) -> dict[str, float]:
    """Events by resource, without the share of the watches that the server has on itself."""
    shares = {
        name: watches.get(name, 0.0) / ((watches.get(name, 0.0) + quiet.get(name, 0.0)) or 1.0) for name in events
    }
    return {name: count * shares[name] for name, count in events.items() if shares[name]}


def _delays(deployments: list[Deployment], load: Load, seen: list[Seen]) -> Delays:
    delays, since_accepted = list[float](), list[float]()
    for each in deployments:
        for ip in each.ips:
            for agent in seen:
                at, identity = agent.addresses.get(ip, (float("inf"), each.identity))
                require(identity == each.identity, f"the agent's ipcache has the identity of {ip}")
                known = max(at, agent.identities.get(each.identity, float("inf")))
                delays.append(known - load.created[ip])
                since_accepted.append(known - load.accepted[ip])
    delays.sort()
    since_accepted.sort()
    return Delays(
        count=len(delays),
        unseen=sum(1 for each in delays if each == float("inf")),
        p50=delays[len(delays) // 2],
        p90=delays[len(delays) * 90 // 100],
        p99=delays[len(delays) * 99 // 100],
        accepted_p50=since_accepted[len(delays) // 2],
    )


def _left_behind(deployments: list[Deployment], seen: list[Seen]) -> int:
    """Addresses that some agent still answers for after all pods were deleted."""
    return sum(1 for agent in seen for each in deployments for ip in each.ips if ip not in agent.gone)
