"""``python -m benchmarks.informers.follower``: one client in a process of its own, which says what it took."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import msgspec

from .clients import CLIENTS, Seen

WARM = 100
"""Changes that come before those that are measured."""


class Step(msgspec.Struct):
    """CPU and wall-clock seconds since the process began, and the bytes that it holds."""

    cpu_s: float
    wall_s: float
    resident: int


def main(name: str, kubeconfig: str, url: str, ca: str, token: str, pods: int, changes: int) -> None:
    """Three lines of JSON: with all pods, after the first changes, after all; or a line that says why it cannot run."""
    began, seen = time.monotonic(), Seen()

    def follow() -> None:
        try:
            CLIENTS[name](seen, kubeconfig, url, ca, token)
        except ModuleNotFoundError as error:
            print(f"missing {error.name}", flush=True)
        except Exception as error:
            print(f"failed {type(error).__name__}: {error}", flush=True)

    threading.Thread(target=follow, daemon=True).start()
    for holds in (
        lambda: len(seen.names) >= pods,
        lambda: seen.changes >= WARM,
        lambda: seen.changes >= WARM + changes,
    ):
        with seen.changed:
            seen.changed.wait_for(holds)
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
        print(msgspec.json.encode(Step(time.process_time(), time.monotonic() - began, resident)).decode(), flush=True)


if __name__ == "__main__":
    chosen, config, server, authority, secret, count, updates = sys.argv[1:]
    main(chosen, config, server, authority, secret, int(count), int(updates))
