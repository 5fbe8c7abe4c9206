"""An agent of the cluster: ``python -m benchmarks.cfp44774.watcher CONFIG RESULT``, until SIGTERM.

A whole agent in this process, with the consumers of its configuration; beside them somebody who notes when ipcache
first answered for an address, and when the selector of a policy first included the identity behind it.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

import msgspec

from consumers.tables.ipcache import IPCache
from consumers.tables.selectors import Selections
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import load_config
from statedb.agent.process.interpreter import tune_interpreter


class Seen(msgspec.Struct):
    """When ipcache had an address and which identity; when a selector had an identity; and what went again."""

    addresses: dict[str, tuple[float, int]]
    identities: dict[int, float]
    gone: dict[str, float]


def main(config: str, result: str) -> None:
    """Run until asked to end; then write what was seen."""
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    tune_interpreter()
    seen = Seen({}, {}, {})
    with Agent(load_config(config)) as agent:
        print("started", flush=True)
        while not agent.wait_synced(0.5) and not asked.is_set():
            pass
        if agent.db.wait_initialized(IPCache, Selections, timeout=60):
            print("synced", flush=True)
        with agent.db.changes(IPCache, Selections) as stream:
            while not asked.is_set():
                batch = stream.next(0.2)
                if batch is None:
                    continue
                now = time.monotonic()
                for selected in batch[Selections]:
                    if not selected.deleted:
                        seen.identities.setdefault(selected.row.key.identity.id, now)
                for change in batch[IPCache]:
                    entry = change.row
                    if change.deleted:
                        seen.gone[entry.network] = now
                    else:
                        seen.addresses.setdefault(entry.network, (now, entry.identity))
                del batch
    Path(result).write_bytes(msgspec.msgpack.encode(seen))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
