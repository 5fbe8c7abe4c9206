"""``python -m benchmarks.informers.follower``: one client in a process of its own, which answers questions.

A question is a line of standard input, an answer a line of JSON: ``synced N``, when there are N pods; ``until NAME
VERSION``, when the pod has this version or a later one; ``lookups N``, how many look-ups it answers in a second. A line
that is not JSON says why the client has ended. The program in ``informers_go`` answers the same questions.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .clients import CLIENTS, Server
from .pods import PODS_OF_A_NODE
from .seen import Seen

_LOOKUPS_S = 0.3


class Step(msgspec.Struct):
    """CPU and wall-clock seconds since the process began, and the bytes that it holds."""

    cpu_s: float
    wall_s: float
    resident: int


class Lookups(msgspec.Struct):
    """Look-ups for each second of CPU: a pod by its name, all pods of a node. 0 where the client has none."""

    by_name: float
    by_node: float


def main(name: str, server: Server) -> None:
    """Answer until standard input ends."""
    began, seen = time.monotonic(), Seen()

    def follow() -> None:
        try:
            CLIENTS[name](seen, server)
            seen.fail("its watch ended")
        except ModuleNotFoundError as error:
            seen.fail(f"the package {error.name} is not installed")
        except BaseException as error:  # a client may raise anything
            seen.fail(f"{type(error).__name__}: {error}")

    threading.Thread(target=follow, daemon=True).start()
    for line in sys.stdin:
        answer = _answer(seen, line.split())
        if isinstance(answer, Step):
            answer.wall_s = time.monotonic() - began
        said = " ".join(seen.failed.split())[:200] if answer is None else msgspec.json.encode(answer).decode()
        print(said, flush=True)


def _answer(seen: Seen, question: Sequence[str]) -> Step | Lookups | None:
    """None where the client has ended before."""
    kind, *words = question
    if kind == "lookups":
        return _lookups(seen, int(words[0]))
    if kind == "synced":
        pods = int(words[0])
        reached = seen.wait(lambda: len(seen.versions) >= pods)
    else:
        name, version = words[0], int(words[1])
        reached = seen.wait(lambda: seen.versions.get(name, 0) >= version)
    if not reached:
        return None
    cpu_s = time.process_time()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    return Step(cpu_s, 0.0, resident)


def _lookups(seen: Seen, pods: int) -> Lookups:
    names = [f"pod-{number}" for number in range(pods)]
    nodes = [f"node-{number}" for number in range(pods // PODS_OF_A_NODE)]
    return Lookups(_rate(seen.by_name, names), _rate(seen.by_node, nodes))


def _rate(lookup: Callable[[str], Any] | None, keys: list[str]) -> float:
    if lookup is None:
        return 0.0
    asked = random.Random(0).choices(keys, k=500)
    done, begun = 0, time.thread_time()
    while time.thread_time() - begun < _LOOKUPS_S:
        for key in asked:
            found = lookup(key)
        done += len(asked)
    if not found:
        raise AssertionError(f"wrong result: {asked[-1]} is found")
    return done / (time.thread_time() - begun)


if __name__ == "__main__":
    chosen, *where = sys.argv[1:]
    main(chosen, Server(*where))
