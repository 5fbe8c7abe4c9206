"""What a whole agent weighs, for each backend: 40 000 endpoints, 5 000 identities, 1 000 nodes, 1 000 services."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ingest.etcd.local import LocalEtcd
from statedb.agent.client.remote import Remote
from statedb.catalog import (
    Backend,
    BackendKey,
    Frontend,
    Identity,
    IdentityKey,
    Node,
    NodeAddress,
    NodeKey,
    Service,
    ServiceKey,
)
from statedb.catalog.wire import cluster_configs, identities, keys, nodes, services
from statedb.catalog.wire.cluster_configs import ClusterConfig

from . import kube
from .harness import FULL, Figure, Outcome, Size, digest, require, workload
from .kvstore import CLUSTER, fill

_MOST_MB = 250.0


@workload("agent-memory", FULL)
def weigh(size: Size) -> Iterator[Outcome]:
    """Resident memory of a whole agent: 40 000 endpoints, 5 000 identities, 1 000 nodes, 1 000 services."""
    if not Path("/proc/self/status").exists():
        print("  no figure: the resident memory of a process is only known on Linux", file=sys.stderr)
    else:
        with LocalEtcd() as etcd:
            etcd.start()
            _fill_etcd(etcd, size.rows)
            for name in ("kvstore", "clustermesh"):
                yield _figure(name, f"{{endpoints: ['{etcd.endpoint}']}}", size.rows)
        with tempfile.TemporaryDirectory() as directory:
            kube.write_manifests(Path(directory), size.rows)
            yield _figure("manifests", f"{{directory: '{directory}'}}", size.rows)
        with kube.served() as server:
            if server is not None:
                kube.fill(server, size.rows)
                kube.rest_of_cluster(server, size.rows)
                yield _figure("kubernetes", f"{{kubeconfig: '{server.kubeconfig()}'}}", size.rows)
    yield digest([size.rows])


def _figure(backend: str, options: str, rows: int) -> Figure:
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "agent.yaml"
        config.write_text(
            f"cluster: {{name: {CLUSTER}, id: 1}}\ningest: {{{backend}: {options}}}\n"
            f"http: {{listen: 'unix:{directory}/s.sock'}}\n"
        )
        bytes_after = _resident(config, f"unix:{directory}/s.sock", rows)
    return Figure(f"{backend}, resident memory of the agent", bytes_after / 1e6, "MB", _MOST_MB)


def _fill_etcd(etcd: LocalEtcd, rows: int) -> None:
    """What KVStore and ClusterMesh have in common, and a cluster config for the latter."""
    with etcd.client() as client:
        fill(client, rows)
        config = ClusterConfig(id=1)
        client.put(f"{keys.CLUSTER_CONFIG}/{CLUSTER}".encode(), cluster_configs.encode(config))
        items = _rest_of_cluster(rows)
        for start in range(0, len(items), 100):
            client.put_many(items[start : start + 100])


def _rest_of_cluster(rows: int) -> list[tuple[bytes, bytes]]:
    """Keys and values of the identities, nodes and services that go with so many endpoints."""
    items = []
    for number in range(rows // 8):
        labels = tuple(sorted((f"k8s:app=app-{number}", f"k8s:io.kubernetes.pod.namespace=namespace-{number % 50}")))
        identity = Identity(IdentityKey(CLUSTER, 65_536 + number), labels, f"namespace-{number % 50}")
        items.append((f"{keys.IDENTITIES}/{identities.name(identity)}", identities.encode(identity)))
    for number in range(rows // 40):
        node = Node(
            NodeKey(CLUSTER, f"node-{number}"),
            (NodeAddress("InternalIP", f"172.18.{number >> 8}.{number & 255}"),),
            (f"10.{number >> 8}.{number & 255}.0/24",),
            labels=(("kubernetes.io/hostname", f"node-{number}"), ("topology.kubernetes.io/zone", f"z{number % 3}")),
            cluster_id=1,
        )
        items.append((f"{keys.NODES}/{nodes.name(node)}", nodes.encode(node)))
        service = Service(
            ServiceKey(CLUSTER, f"namespace-{number % 50}", f"service-{number}"),
            (Frontend(f"10.96.{number >> 8}.{number & 255}", "http", "TCP", 80),),
            cluster_id=1,
        )
        backends = [
            Backend(BackendKey(*_words(service.key), f"10.{n >> 8}.{n & 255}.7", 8080, "TCP"), ("http",))
            for n in range(number * 4, number * 4 + 4)
        ]
        items.append((f"{keys.SERVICES}/{services.name(service)}", services.encode(service, backends)))
    return [(key.encode(), value) for key, value in items]


def _words(key: ServiceKey) -> tuple[str, str, str]:
    return key.cluster, key.namespace, key.name


def _resident(config: Path, address: str, rows: int) -> int:
    """Bytes of a synced agent's process."""
    command = [sys.executable, "-m", "statedb", "run", "-c", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as agent:
        try:
            assert agent.stdout is not None
            require(agent.stdout.readline().startswith("serving on "), "the agent serves")
            require(agent.stdout.readline().startswith("synced after "), "the agent is synced")
            tables = {each["name"]: each["rows"] for each in Remote(address).json("/tables")["tables"]}
            require(tables["endpoints"] == rows, "it has all endpoints")
            require(tables["identities"] == rows // 8, "it has all identities")
            status = Path(f"/proc/{agent.pid}/status").read_text()
        finally:
            agent.terminate()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024
