"""A real API server, two operators behind the proxy, what is desired, and the faults that happen to all of them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from ingest import kubernetes
from ingest.kubernetes.errors import ApiError
from statedb import Database
from statedb.catalog import Object, Objects

from ...apiserver.rest import Refused
from ...apiserver.server import ApiServer
from ...ingest.kubernetes.informing import CRDS, create_served, options, running, state
from ...waiting import eventually
from .operator import AGAIN, RESOURCE
from .proxy import FaultyProxy

ROOT = Path(__file__).parents[3]
_ROOT_OF_SETS = "/apis/chaos.example.org/v1"
_LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/chaos"


def definition() -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}
    names = {"plural": "sets", "singular": "set", "kind": "Set"}
    spec = {"group": "chaos.example.org", "scope": "Namespaced", "names": names, "versions": [version]}
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return {**kind, "metadata": {"name": RESOURCE}, "spec": spec}


class World:
    """A context manager. ``desired`` says of each Set what its spec is. For one thread."""

    def __init__(self, *, seed: int, lease_s: float) -> None:
        self.random = random.Random(seed)
        self.desired: dict[str, dict[str, Any]] = {}
        self.faults: Counter[str] = Counter()
        self.changes = 0
        self._seed = seed
        self._lease_s = lease_s
        self._operators: dict[str, subprocess.Popen[bytes]] = {}
        self._started = 0
        self._pause = threading.Event()

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            self.server = resources.enter_context(ApiServer(crds=False))
            self.server.start()
            self.server.rest().create(CRDS, definition())
            self.proxy = resources.enter_context(FaultyProxy(self.server, self._seed))
            self._log = resources.enter_context(tempfile.NamedTemporaryFile())
            self._writer = resources.enter_context(kubernetes.writer("user", options(self.server)))
            create_served(
                self.server.rest(), f"{_ROOT_OF_SETS}/namespaces/default/sets", self._set("set-0", 0, "first")
            )
            self.db = Database()
            source = kubernetes.resources(self.db, RESOURCE, "configmaps", options=options(self.server))
            self.sets, self.children = source.tables
            resources.enter_context(running(source))
            resources.callback(self._end_operators)
            self._resources = resources.pop_all()
        self.keep_two()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    # --- operators ----------------------------------------------------------------------------------------------------

    def keep_two(self) -> None:
        """Start operators for those that have ended: an operator that lost its Lease ends by itself."""
        for identity, process in list(self._operators.items()):
            if process.poll() is not None:
                del self._operators[identity]
        while len(self._operators) < 2:
            self._started += 1
            identity = f"operator-{self._started}"
            command = [sys.executable, "-m", "tests.e2e.chaos.operator", self.proxy.url, identity, str(self._lease_s)]
            self._operators[identity] = subprocess.Popen(command, cwd=ROOT, stdout=self._log, stderr=self._log)

    def leader(self) -> subprocess.Popen[bytes]:
        """The process that the Lease names, as soon as it is one that runs."""
        eventually(lambda: self._holder() in self._operators, f"a leader; {self._tail()}")
        return self._operators[self._holder()]

    def _holder(self) -> str:
        self.keep_two()
        with contextlib.suppress(OSError, Refused):
            return str(self.server.rest().get(_LEASE)["spec"]["holderIdentity"])
        return ""

    def _tail(self) -> str:
        return self._said()[-2000:]

    def _said(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    def _end_operators(self) -> None:
        for process in self._operators.values():
            process.kill()
            process.wait()

    # --- faults -------------------------------------------------------------------------------------------------------

    def kill_leader(self) -> None:
        self.faults["leader killed"] += 1
        leader = self.leader()
        leader.kill()
        leader.wait()
        self.keep_two()

    def freeze_leader(self) -> None:
        """The leader stands still until another one leads; then it goes on where it was."""
        self.faults["leader frozen"] += 1
        leader, before = self.leader(), self._holder()
        leader.send_signal(signal.SIGSTOP)
        os.waitpid(leader.pid, os.WUNTRACED)
        try:
            eventually(lambda: self._holder() not in ("", before), f"another leader; {self._tail()}")
        finally:
            leader.send_signal(signal.SIGCONT)

    def restart_server(self) -> None:
        """The API server dies, and comes back some moments later."""
        self.faults["API server restarted"] += 1
        self.server.kill()
        self._pause.wait(self.random.random())
        self.server.start(timeout_s=120)

    # --- what is desired ----------------------------------------------------------------------------------------------

    def change(self, objects: int) -> None:
        """One Set wants another text, and perhaps more children; a new one may come."""
        name = f"set-{self.random.randrange(objects)}"
        size = max(self.desired.get(name, {}).get("size", 0), self.random.randrange(4))
        self.want(name, size)

    def want(self, name: str, size: int) -> None:
        value = self._set(name, size, f"text {self.changes}")
        self.desired[name] = value["spec"]
        self.changes += 1
        while True:
            try:
                self._writer.apply(value)
                return
            except ApiError:  # the API server is away
                self._pause.wait(0.05)

    def _set(self, name: str, size: int, text: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": "default"}
        return {
            "apiVersion": "chaos.example.org/v1",
            "kind": "Set",
            "metadata": metadata,
            "spec": {"size": size, "text": text},
        }

    def wrong(self) -> list[str]:
        """The Sets that are not as desired yet, or whose children are not."""
        snapshot = self.db.snapshot()
        rows: dict[str, Object] = {row.key.name: row for row in snapshot[self.sets].values()}
        held: dict[str, list[Object]] = {}
        for child in snapshot[self.children].values():
            if child.owners:
                held.setdefault(child.owners[0].name, []).append(child)
        return [
            name
            for name, spec in self.desired.items()
            if name not in rows
            or not rows[name].at("spec") == spec == rows[name].at("status")
            or sorted((each.key.name, each.at("data", "text")) for each in held.get(name, ()))
            != [(f"{name}-{number}", spec["text"]) for number in range(spec["size"])]
        ]

    def settle(self, within_s: float) -> float:
        """Wait until all is as desired. How long that took."""
        begun = time.monotonic()
        while self._behind() or (wrong := self.wrong()):
            self.keep_two()
            assert time.monotonic() < begun + within_s, (wrong[:5], len(wrong), self._tail())
            self._pause.wait(0.2)
        return time.monotonic() - begun

    def _behind(self) -> bool:
        snapshot = self.db.snapshot()
        tables: tuple[type[Objects], ...] = (self.sets, self.children)
        return any(state(snapshot, table.name).state != "synced" for table in tables)

    def check_creations(self) -> None:
        """No child was created twice, or would have been if names did not prevent it; and none was ever deleted."""
        assert [line for line in self._said().splitlines() if AGAIN in line] == []
        assert [name for name, times in self.proxy.created.items() if times > 1] == []
        assert not self.proxy.deleted
