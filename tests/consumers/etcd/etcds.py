"""What stands in an etcd."""

from __future__ import annotations

from ingest.etcd.local import LocalEtcd


def held(etcd: LocalEtcd, login: tuple[str, str] | None = None) -> dict[str, bytes]:
    """All keys of Cilium."""
    with etcd.client(login=login) as client:
        return {kv.key.decode(): kv.value for page in client.list(b"cilium/") for kv in page.kvs}
