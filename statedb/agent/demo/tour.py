"""The demonstration: an agent on the example cluster, changes of manifests, a follower that prints them, queries."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Self

from statedb import Change, Database, WatchSet
from statedb.catalog import TABLES, Endpoint, EndpointKey, Endpoints, Rejected, SourceKey, Sources

from ..errors import StartError
from ..process.agent import Agent
from ..process.config import Config, parse_config
from .terminal import activation, keep_running, show_command

_CLUSTER = "cluster1"
_WAIT_S = 30.0
_POD = """\
apiVersion: cilium.io/v2
kind: CiliumEndpoint
metadata: {{name: checkout-7d4, namespace: shop}}
status:
  identity: {{id: {identity}}}
  networking:
    node: {node}
    addressing: [{{ipv4: {ip}}}]
"""
_IP = "10.244.2.200"


def run_demo(backend: str, *, keep: bool, say: Callable[[str], None], stay_s: float = 0.0) -> None:
    """Run the demonstration, which takes at most half a minute.

    Then the agent runs for ``stay_s`` seconds or, with ``keep``, until Ctrl-C. Raises StartError.
    """
    logging.getLogger().addHandler(logging.NullHandler())  # the tour shows errors itself
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="statedb-demo-") as scratch:
        directory = Path(scratch) / "cluster"
        shutil.copytree(example_cluster(), directory)
        with contextlib.ExitStack() as stack:
            say(f"An agent on the example cluster, through {backend}.\n")
            config = stack.enter_context(_source_of(backend, directory, say))
            agent = Agent(config)
            stack.enter_context(agent)
            consumer = stack.enter_context(_EndpointPrinter(agent.db, say))
            _show_filling(agent, say)
            _change_manifests(agent, consumer, directory, backend, say)
            _show_queries(agent.address, say)
            if keep or stay_s:
                first = f"Change the manifests in {directory}, and ask it:"
                keep_running(agent, None if keep else stay_s, Endpoints.name, say, first=first)
        say(f"\nDone in {time.monotonic() - began:.1f} s. {_next_steps(backend)}")


def example_cluster() -> Path:
    """The example cluster: inside an installed package, or in the ``examples`` folder of a checkout."""
    here = Path(__file__).parent
    for path in (here / "example_cluster", here.parents[2] / "examples" / "cluster"):
        if path.is_dir():
            return path
    raise StartError("the example cluster is missing from this installation; run the demo from a checkout")


@contextlib.contextmanager
def _source_of(backend: str, directory: Path, say: Callable[[str], None]) -> Generator[Config]:
    """The configuration of the agent. The etcd that it may need runs inside the ``with`` block."""
    if backend == "manifests":
        yield _config("manifests: {directory: cluster, rescan-s: 0.1}", directory)
        return
    try:
        from ingest.etcd.local import NoEtcd  # optional package: grpcio

        from .etcd import MirroredEtcd  # optional package: grpcio
    except ModuleNotFoundError as error:
        raise StartError(
            f"the demonstration of kvstore needs the package {error.name!r}; install 'statedb[etcd]'"
        ) from None
    try:
        etcd = MirroredEtcd(str(directory), _CLUSTER, 1)
        with etcd:
            say(f"A real etcd serves {etcd.endpoint}; a control plane keeps it equal to the manifests.\n")
            yield _config(f"kvstore: {{endpoints: ['{etcd.endpoint}']}}", directory)
    except NoEtcd as error:
        raise StartError(str(error)) from None


def _config(ingest: str, directory: Path) -> Config:
    text = f"cluster: {{name: {_CLUSTER}, id: 1}}\ningest: {{{ingest}}}\nhttp: {{listen: '127.0.0.1:0'}}\n"
    return parse_config(text, directory.parent)


class _EndpointPrinter:
    """Follows the endpoints on a thread of its own and prints each change after the first rows."""

    def __init__(self, db: Database, say: Callable[[str], None]) -> None:
        self._db = db
        self._say = say
        self._stream = db.changes(Endpoints)
        self._seen = threading.Condition()
        self._revision = -1
        self._thread = threading.Thread(target=self._follow, name="demo consumer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._thread.join()

    def catch_up(self) -> None:
        """Wait until it has printed everything up to the present revision."""
        revision = self._db.snapshot()[Endpoints].revision
        with self._seen:
            self._seen.wait_for(lambda: self._revision >= revision, _WAIT_S)

    def _follow(self) -> None:
        following = False
        for batch in self._stream:
            for change in batch if following else ():
                with contextlib.suppress(BrokenPipeError):  # standard output is closed; the main thread notices too
                    self._say(f"    consumer: {_description(change)}")
            following = following or batch.initialized  # everything before belongs to the first list
            with self._seen:
                self._revision = batch.snapshot[Endpoints].revision
                self._seen.notify_all()


def _description(change: Change[Endpoint]) -> str:
    row = change.row
    what = "gone  " if change.deleted else "upsert"
    return f"{what} {row.key.ip}  pod {row.namespace}/{row.pod}  identity {row.identity}  node {row.host_ip}"


def _show_filling(agent: Agent, say: Callable[[str], None]) -> None:
    say("The tables fill:")
    if not agent.wait_synced(_WAIT_S):
        raise StartError("the tables were not filled in time; see the table 'sources' of a longer run")
    snapshot = agent.db.snapshot()
    for table in TABLES:
        view = snapshot[table]
        if table is not Rejected and table is not Sources:
            state = "" if len(view) or table in agent.sources[0].tables else "  (this backend does not carry it)"
            say(f"    {table.name:12} {len(view):4} rows, revision {view.revision}{state}")


def _change_manifests(
    agent: Agent, consumer: _EndpointPrinter, directory: Path, backend: str, say: Callable[[str], None]
) -> None:
    """Create, move, break and delete a pod. After each step, wait for it in the table."""
    consumer.catch_up()
    say(f"    consumer: follows endpoints, and has {len(agent.db.snapshot()[Endpoints])} of them")
    key = EndpointKey(_CLUSTER, _IP)
    path = directory / "checkout.yaml"
    good = _POD.format(identity=65621, node="172.18.0.3", ip=_IP)
    moved = _POD.format(identity=65621, node="172.18.0.4", ip=_IP)

    say("\nA new manifest, checkout.yaml, with one pod:")
    _write(path, good)
    _until(agent.db, lambda: key in agent.db.snapshot()[Endpoints])
    consumer.catch_up()
    say("The pod moves to another node:")
    _write(path, moved)
    _until(agent.db, lambda: agent.db.snapshot()[Endpoints][key].host_ip == "172.18.0.4")
    consumer.catch_up()
    if backend == "manifests":
        say("Somebody breaks the manifest; the rows stay, and the table 'rejected' says why:")
        _write(path, moved.replace(_IP, "10.244.2.2000"))
        _until(agent.db, lambda: len(agent.db.snapshot()[Rejected]) == 1)
        (rejected,) = agent.db.snapshot()[Rejected].values()
        say(f"    rejected: {rejected.key.object}\n              {rejected.error}")
        _write(path, moved)
        _until(agent.db, lambda: not agent.db.snapshot()[Rejected])
    say("The manifest goes:")
    path.unlink()
    _until(agent.db, lambda: key not in agent.db.snapshot()[Endpoints])
    consumer.catch_up()
    _until(agent.db, lambda: _has_row_count(agent.db))  # the sources' counts are written once a second


def _has_row_count(db: Database) -> bool:
    snapshot = db.snapshot()
    return snapshot[Sources][SourceKey(_CLUSTER, Endpoints.name)].rows == len(snapshot[Endpoints])


def _write(path: Path, text: str) -> None:
    hidden = path.with_name(f".{path.name}")
    hidden.write_text(text)
    os.replace(hidden, path)


def _until(db: Database, holds: Callable[[], bool]) -> None:
    """Wait until ``holds`` is true. Raises StartError after 30 seconds."""
    end = time.monotonic() + _WAIT_S
    while True:
        snapshot = db.snapshot()
        watches = (snapshot[Endpoints].watch(), snapshot[Rejected].watch(), snapshot[Sources].watch())
        if holds():
            return
        WatchSet(*watches).wait(1.0)
        if time.monotonic() > end:
            raise StartError("a change did not arrive in the tables in time")


def _show_queries(address: str, say: Callable[[str], None]) -> None:
    say("\nAnybody may ask the running agent:")
    for arguments in (
        ["show", "nodes"],
        ["list", "endpoints", "--index", "by_pod", "shop", "cart-db-0"],
        ["sources"],
    ):
        show_command(address, arguments, say)


def _next_steps(backend: str) -> str:
    option = "" if backend == "manifests" else f" --backend {backend}"
    first = "".join([f"  {line}\n" for line in activation()])
    return (
        f"Try next:\n{first}"
        f"  statedb demo --keep{option}      the same, and the agent stays\n"
        "  statedb init; statedb run -c agent.yaml    an agent of your own; then, in another shell:\n"
        "  statedb tables; statedb show endpoints; statedb changes endpoints -o json"
    )
