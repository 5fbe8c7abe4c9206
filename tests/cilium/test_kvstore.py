"""What Cilium writes in kvstore mode, read by our ``ingest: kvstore``, our remote source and Cilium's reader."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from ingest.etcd.local import LocalEtcd
from ingest.kvstore import KvstoreOptions, open as open_kvstore
from statedb import Database
from statedb.catalog import TABLES, Rejected
from statedb.catalog.wire.cluster_configs import ClusterConfig

from ..ingest.clustermesh.publisher import LITERALS, Publisher, Rig
from . import binary
from .conftest import Etcds, Say
from .peers import CLUSTER, CLUSTER_ID, WAIT_S, etcd_config
from .readers import CiliumReader, eventually, ours, require_equal_rows

NODE = json.loads(LITERALS["cilium/state/nodes/v1/cluster3/test-node-1"])
LABELS = [
    ["k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop"],
    ["k8s:app=a=b", "k8s:empty=", "any:x=y", "container:z=1"],
    ["k8s:" + "l" * 60 + "=" + "v" * 60],
]


class KvstoreWriter:
    """The program ``kvwriter``; a context manager."""

    def __init__(self, directory: Path, etcd: LocalEtcd, *, lease: str = "15m") -> None:
        program = binary.find(binary.own("kvwriter"))
        self._command = [str(program), str(etcd_config(directory, etcd)), CLUSTER, str(CLUSTER_ID), lease]
        self._log = directory / "kvwriter.log"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def do(self, **order: Any) -> int:
        """One order, carried out when this returns; the number of an identity, else 0."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, self._log.read_text()[-2000:]
        return int(answer)


def fill(writer: KvstoreWriter) -> None:
    writer.do(Beat="2026-08-17T10:15:04Z")
    labels = [[*each, f"k8s:io.cilium.k8s.policy.cluster={CLUSTER}"] for each in LABELS]
    numbers = [writer.do(Labels=each) for each in labels]
    writer.do(Node=NODE | {"Source": "local"})
    writer.do(Node=NODE | {"Name": "test-node-2", "IPAddresses": None, "EncryptionKey": 9, "Labels": None})
    for place, number in enumerate([*numbers, 1, 6]):
        writer.do(
            IP={
                "IP": f"10.3.2.{place}",
                "Host": "172.18.0.2",
                "Namespace": "shop",
                "Pod": f"pod-{place}",
                "Account": "default",
                "Identity": number,
                "Key": place,
                "Ports": {"http": 8080, "dns": 53} if place else {},
            }
        )
    writer.do(IP={"IP": "fd00:3::1", "Host": "fd00::2", "Identity": numbers[0]})
    writer.do(IP={"IP": "10.3.2.99", "Identity": numbers[0]})
    writer.do(Delete="10.3.2.99")


def test_what_ciliums_agents_write_is_read_alike(etcds: Etcds, tmp_path: Path, say: Say):
    etcd = etcds()
    db = Database(*TABLES)
    local = open_kvstore(db, CLUSTER, CLUSTER_ID, KvstoreOptions(endpoints=(etcd.endpoint,)))
    with KvstoreWriter(tmp_path, etcd) as writer, Publisher(etcd) as publisher:
        fill(writer)
        publisher.configure(ClusterConfig(CLUSTER_ID, max_connected_clusters=255))
        local.start()
        with CiliumReader(tmp_path / "reader", etcd) as reader, Rig(etcd.endpoint) as rig:
            state = reader.wait_ready()
            rows = require_equal_rows(reader.rows(state), ours(rig.synced()))
            require_equal_rows(reader.rows(state), ours(eventually(db.snapshot, has_all(rows), "our kvstore source")))
        assert not list(db.snapshot()[Rejected])
        local.stop()
        assert local.join(WAIT_S)
    say(f"kvstore mode: {rows} rows compared, of the allocator, the synchronizer and the registrar")


def has_all(rows: int) -> Callable[[Any], bool]:
    return lambda snapshot: sum(map(len, ours(snapshot).values())) == rows
