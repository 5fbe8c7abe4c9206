"""What a client has seen, and how its pods are looked up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any

Lookup = Callable[[str], Any]
"""A pod by its name, or the pods of a node (Any: each client has rows of its own)."""


class Seen:
    """The newest version of each pod that has come. ``pod`` is for one thread, the rest for another.

    The one who waits is woken once, when what it waits for has come, so that waiting costs an event nothing.
    """

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.by_name: Lookup | None = None
        self.by_node: Callable[[str], Collection[Any]] | None = None
        self.failed = ""
        self._goal: Callable[[], bool] | None = None
        self._reached = threading.Event()

    def pod(self, name: str, version: str) -> None:
        """A pod has come, or has changed."""
        self.versions[name] = int(version)
        goal = self._goal
        if goal is not None and goal():
            self._goal = None
            self._reached.set()

    def fail(self, why: str) -> None:
        """The client has ended."""
        self.failed = why
        self._reached.set()

    def wait(self, goal: Callable[[], bool]) -> bool:
        """Wait until the goal holds, or the client has ended; whether the goal holds."""
        self._reached.clear()
        self._goal = goal
        if not self.failed and not goal():
            self._reached.wait()
        self._goal = None
        return goal()


class Store:
    """Pods in dicts, with an index that is kept by hand."""

    def __init__(self, seen: Seen) -> None:
        self.pods: dict[str, Any] = {}
        self.nodes: dict[str, dict[str, Any]] = {}
        self._seen = seen
        seen.by_name = self.pods.get
        seen.by_node = lambda node: list(self.nodes.get(node, {}).values())

    def put(self, name: str, node: str, version: str, pod: Any) -> None:
        """A pod, new or changed; its node does not change."""
        self.pods[name] = pod
        self.nodes.setdefault(node, {})[name] = pod
        self._seen.pod(name, version)
