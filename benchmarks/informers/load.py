"""Pods at the API server, and writes to them at a rate. Every write goes through the front door."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec

from tests.apiserver.server import ApiServer

from ..cfp44774.load import Writer
from .pods import pod

Written = tuple[int, str]
"""The version that a write made, and the name of its pod."""

_PODS = "/api/v1/namespaces/default/pods"
_LANES = 4


class Load:
    """Writes from some connections at once."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._pool = ThreadPoolExecutor(_LANES)
        self._count = itertools.count(1)
        self.pods = 0

    def fill(self, pods: int) -> int:
        """Create pods until there are so many; how large one is as served."""

        def create(lane: int) -> None:
            writer = Writer(self._server)
            for number in range(self.pods + lane, pods, _LANES):
                writer.send("POST", _PODS, pod(number))

        list(self._pool.map(create, range(_LANES)))
        self.pods = pods
        return len(msgspec.json.encode(self._server.rest().get(f"{_PODS}/pod-0")))

    def change(self, changes: int, rate: float) -> tuple[Written, float]:
        """Change so many pods, one after the other, at a rate; the last write, and the rate that it came to."""
        begun = time.monotonic()

        def lane(at: int) -> Written:
            writer, last = Writer(self._server), (0, "")
            for number in range(at, changes, _LANES):
                time.sleep(max(0.0, begun + number / rate - time.monotonic()))
                last = max(last, self._change_one(writer))
            return last

        last = max(self._pool.map(lane, range(_LANES)))
        return last, changes / (time.monotonic() - begun)

    def _change_one(self, writer: Writer) -> Written:
        count = next(self._count)
        number = count % self.pods
        version = writer.send("PUT", f"{_PODS}/pod-{number}/status", pod(number, count))
        return int(version), f"pod-{number}"
