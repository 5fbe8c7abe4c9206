"""Two etcds, key by key and byte by byte; what differs on purpose stands in ``differences.yaml``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ingest.etcd.local import LocalEtcd
from statedb.catalog.wire import _zstd

from .objects import all_cases
from .peers import WAIT_S

TABLE = Path(__file__).parent / "differences.yaml"
_LEFT_OUT = ("cilium/.heartbeat", "cilium/kvstoremesh-lock/")
_TIMED = "cilium/synced/"
"""Keys whose values are times: only that they are there is compared."""
_COMPRESSED = ("cilium/state/endpointslices/", "cilium/cache/endpointslices/")
_SLICE_BYTES_MAX = 16 << 20
_QUIET_S = 0.05

DIFFERS = {key: name for case in all_cases() for key, name in case.differs.items()}
"""The ends of the keys that differ on purpose, with the name of the difference."""


def table() -> list[Any]:
    """The lines of the table (Any: YAML)."""
    found = yaml.safe_load(TABLE.read_text())
    assert isinstance(found, list)
    return found


def raw(etcd: LocalEtcd) -> dict[str, bytes]:
    """All keys of Cilium, with their values."""
    with etcd.client() as client:
        return {kv.key.decode(): kv.value for page in client.list(b"cilium/") for kv in page.kvs}


def held(etcd: LocalEtcd) -> dict[str, bytes]:
    """The same, with the messages in compressed values, and without times.

    Left out are the heartbeat, with which the real writer begins a minute after its start, and kvstoremesh's lock.
    """
    return {key: _comparable(key, value) for key, value in raw(etcd).items() if not key.startswith(_LEFT_OUT)}


def _comparable(key: str, value: bytes) -> bytes:
    if key.startswith(_TIMED):
        return b""
    if key.startswith(_COMPRESSED):
        return _zstd.decompress(value, _SLICE_BYTES_MAX)
    return value


def differing(real: Mapping[str, bytes], ours: Mapping[str, bytes]) -> dict[str, tuple[bytes | None, bytes | None]]:
    """The keys that are not equal, with the real value and ours."""
    keys = sorted(real.keys() | ours.keys())
    return {key: (real.get(key), ours.get(key)) for key in keys if real.get(key) != ours.get(key)}


def require_equal(
    real: LocalEtcd, ours: LocalEtcd, *, until: Callable[[], bool] = lambda: True
) -> tuple[int, set[str]]:
    """Wait until both hold the same but for what the odd objects say.

    How many keys were compared, and the names of the differences seen. ``until`` says whether both have seen all.
    """
    end = time.monotonic() + WAIT_S
    while True:
        seen = until()
        there = held(real), held(ours)
        found = differing(*there)
        unexpected = {key: value for key, value in found.items() if not key.endswith(tuple(DIFFERS))}
        if seen and not unexpected:
            return len(there[0]), {DIFFERS[each] for key in found for each in DIFFERS if key.endswith(each)}
        if time.monotonic() > end:
            raise AssertionError(_told(unexpected) if seen else "what happened did not reach both writers")
        time.sleep(_QUIET_S)


def _told(unexpected: Mapping[str, tuple[bytes | None, bytes | None]]) -> str:
    lines = [f"{key}\n  real {values[0]!r}\n  ours {values[1]!r}" for key, values in unexpected.items()]
    return f"{len(lines)} differences:\n" + "\n".join(lines)
