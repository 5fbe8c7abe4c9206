"""One client in its process: started, asked, ended. Whatever goes wrong with a client is Failed, with the reason."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from typing import Self, TypeVar

import msgspec

from tests.apiserver.server import ApiServer

from .clients import CLIENTS
from .follower import Lookups, Step

LONGEST_S = 180.0
"""For an answer of a client that gets on."""

IN_GO = {
    "client-go, informer": "client-go",
    "client-go, informer that keeps a few fields": "client-go-few",
    "controller-runtime, cache": "controller-runtime",
}
"""What the program in ``informers_go`` calls the clients in Go."""

NAMES = (*list(CLIENTS)[:3], *IN_GO, *list(CLIENTS)[3:])
"""All clients, in the order of the table."""


_Answer = TypeVar("_Answer", Step, Lookups)


class Failed(Exception):
    """A client did not run, or did not get on; the message says why."""


class Follower:
    """A client that follows the pods; a context manager, which ends it."""

    def __init__(self, server: ApiServer, name: str, go_program: str) -> None:
        """Starts it. ``go_program`` is the path of the program of `IN_GO`."""
        kubeconfig = str(server.kubeconfig())
        command = [go_program, IN_GO.get(name, ""), kubeconfig]
        if name in CLIENTS:
            where = [kubeconfig, server.url, str(server.ca), server.token()]
            command = [sys.executable, "-m", "benchmarks.informers.follower", name, *where]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._said: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        """The client, just started."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def synced(self, pods: int) -> Step:
        """Wait until it has all pods. Raises Failed."""
        return self._ask(f"synced {pods}", Step, LONGEST_S)

    def until(self, written: tuple[int, str], longest_s: float = LONGEST_S) -> Step:
        """Wait until it has seen a write: the version and the name of a pod. Raises Failed."""
        version, name = written
        return self._ask(f"until {name} {version}", Step, longest_s)

    def lookups(self, pods: int) -> Lookups:
        """How many look-ups it answers. Raises Failed."""
        return self._ask(f"lookups {pods}", Lookups, LONGEST_S)

    def _ask(self, question: str, kind: type[_Answer], longest_s: float) -> _Answer:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
            said = self._said.get(timeout=longest_s)
        except queue.Empty:
            raise Failed(f"not there after {longest_s:g} s") from None
        except OSError:
            said = self._said.get(timeout=longest_s)
        if not said.startswith("{"):
            raise Failed(said.strip() or "its process ended")
        return msgspec.json.decode(said, type=kind)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line)
        self._said.put("")
