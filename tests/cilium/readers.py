"""Cilium's reader of other clusters as a process, our source of one, and the rows of both in one form."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from ingest.etcd.local import LocalEtcd
from statedb import Snapshot
from statedb.catalog import Backends, Endpoint, Endpoints, Identities, Node, Nodes, Services
from statedb.catalog.wire import crds, nodes, services

from . import binary
from .peers import CLUSTER, WAIT_S

LOCAL, LOCAL_ID = "cluster1", 1
_PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
_COLUMNS = ("nodes", "identities", "ips", "services", "backends")


class CiliumReader:
    """The program ``reader`` on the etcd of one cluster; a context manager."""

    def __init__(
        self,
        directory: Path,
        etcd: LocalEtcd,
        *,
        slices: bool = False,
        max_clusters: int = 255,
        cluster: str = CLUSTER,
    ) -> None:
        """``slices``: backends from endpoint slices."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / cluster).write_text(f"endpoints: ['{etcd.endpoint}']\n")
        mode = "prefer-endpointslice" if slices else "prefer-legacy"
        program = binary.find(binary.own("reader"))
        self._command = [str(program), str(directory), LOCAL, str(LOCAL_ID), str(max_clusters), mode]
        self._cluster = cluster
        self._slices = slices
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def state(self) -> Any:
        """What it holds now (Any: JSON)."""
        return self._ask("")

    def why_not(self, config: str) -> str:
        """Why a cluster that says this of itself is refused; empty where it is not."""
        return str(self._ask(config))

    def _ask(self, line: str) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def wait_ready(self) -> Any:
        """Until it has all of its first lists; what it holds then."""
        return eventually(self.state, lambda state: state["ready"].get(self._cluster, False), "Cilium's reader")

    def rows(self, state: Any = None) -> dict[str, dict[str, Any]]:
        """What it holds, by table and key."""
        return rows_of(self.state() if state is None else state, self._cluster, slices=self._slices)

    def refused(self, state: Any = None) -> dict[str, str]:
        """What it refused, by the end of its key: the reason."""
        found = (self.state() if state is None else state)["refused"] or []
        named = {each.get("key") or each.get("ipAddr") or each.get("identity"): each for each in found}
        return {name: each.get("error", each["message"]) for name, each in named.items() if name is not None}


def eventually(read: Callable[[], Any], holds: Callable[[Any], bool], what: str) -> Any:
    """Ask again and again: nobody tells us."""
    end = time.monotonic() + WAIT_S
    pause = threading.Event()
    while not holds(found := read()):
        assert time.monotonic() < end, f"{what} did not come: {found}"
        pause.wait(0.05)
    return found


def rows_of(state: Any, cluster: str, *, slices: bool) -> dict[str, dict[str, Any]]:
    """Rows of ours, from what Cilium's reader holds. What it does not keep is not there."""
    found: dict[str, dict[str, Any]] = {column: {} for column in _COLUMNS}
    for each in state["nodes"].values():
        row = nodes.decode(cluster, f"{cluster}/{each['Name']}", json.dumps(each).encode())
        found["nodes"][row.key.name] = _without_source(row)
    found["identities"] = {str(number): tuple(sorted(labels)) for number, labels in state["identities"].items()}
    found["ips"] = dict(state["ips"])
    for each in state["services"].values():
        name = f"{cluster}/{each['namespace']}/{each['name']}"
        row, backends = services.decode(cluster, name, json.dumps(each).encode())
        found["services"][f"{row.key.namespace}/{row.key.name}"] = row
        found["backends"] |= {str(backend.key): backend for backend in backends}
    if slices:
        found["backends"] = _backends_of(state, cluster)
    return found


def _backends_of(state: Any, cluster: str) -> dict[str, Any]:
    of_service: dict[str, list[Any]] = {}
    for each in state["slices"].values():
        metadata = {"name": each["name"], "namespace": each["namespace"], "labels": each.get("labels") or {}}
        backends = crds.endpoint_slice({**each, "metadata": metadata}, cluster)
        for backend in backends:
            of_service.setdefault(str(backend.service), []).append(backend)
    merged = [each for found in of_service.values() for each in services.merged(found)]
    return {str(backend.key): backend for backend in merged}


def ours(snapshot: Snapshot, cluster: str = CLUSTER, *, slices: bool = False) -> dict[str, dict[str, Any]]:
    """The same of our tables."""
    found: dict[str, dict[str, Any]] = {column: {} for column in _COLUMNS}
    of = {table: [row for row in snapshot[table].values() if row.key.cluster == cluster] for table in _TABLES}
    found["nodes"] = {row.key.name: _without_source(row) for row in of[Nodes]}
    found["identities"] = {str(row.key.id): tuple(sorted(row.labels)) for row in of[Identities]}
    found["ips"] = {row.key.ip: _address(row) for row in of[Endpoints]}
    if not slices:
        found["services"] = {f"{row.key.namespace}/{row.key.name}": row for row in of[Services]}
    found["backends"] = {str(row.key): row for row in of[Backends]}
    return found


def _without_source(node: Node) -> Node:
    """Cilium's reader writes into it by which way the node came."""
    return msgspec.structs.replace(node, source="")


_TABLES: tuple[Any, ...] = (Nodes, Identities, Endpoints, Services, Backends)


def _address(row: Endpoint) -> Any:
    used = [each for each in row.named_ports if each.name and each.port and each.protocol in _PROTOCOLS]
    ports = {
        each.name: f"{each.port}/{_PROTOCOLS[each.protocol]}" for each in used
    }  # others are kept, nobody uses them
    has_pod = bool(row.namespace or row.pod or row.named_ports)
    return {
        "Host": row.host_ip,
        "Namespace": row.namespace,
        "Pod": row.pod,
        "Key": row.encryption_key,
        "Identity": row.identity,
        "Ports": ports if has_pod else None,
    }


def require_equal_rows(cilium: dict[str, dict[str, Any]], mine: dict[str, dict[str, Any]]) -> int:
    """Every row of one is in the other; how many there are."""
    unequal = [
        f"{column} {key}\n  Cilium {cilium[column].get(key)}\n  ours   {mine[column].get(key)}"
        for column in _COLUMNS
        for key in sorted(cilium[column].keys() | mine[column].keys())
        if cilium[column].get(key) != mine[column].get(key)
    ]
    assert not unequal, f"{len(unequal)} rows differ:\n" + "\n".join(unequal)
    return sum(map(len, cilium.values()))
