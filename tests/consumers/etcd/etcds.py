"""What stands in an etcd, and waiting for it, since nobody tells us."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ingest.etcd.local import LocalEtcd

WAIT_S = 60.0


def eventually(holds: Callable[[], Any], what: str = "it") -> None:
    """Look again and again until it holds."""
    end = time.monotonic() + WAIT_S
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < end, f"{what} did not come"
        pause.wait(0.02)


def held(etcd: LocalEtcd, login: tuple[str, str] | None = None) -> dict[str, bytes]:
    """All keys of Cilium."""
    with etcd.client(login=login) as client:
        return {kv.key.decode(): kv.value for page in client.list(b"cilium/") for kv in page.kvs}
