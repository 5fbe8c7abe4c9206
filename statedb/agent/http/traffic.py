"""Counts the requests of an application by resource and status."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

_ROUTE = "statedb.route"
OTHER = "other"
"""Stands for all paths where there is no resource, and for requests that are refused before their path is looked at."""


def route_of(scope: Any, path: str) -> None:
    """Note that a request is for this resource. ``path`` has no parts of the request, so that there are few."""
    scope[_ROUTE] = path


class Traffic:
    """ASGI middleware around a whole application. Used on one event loop; its figures may be read by any thread."""

    def __init__(self, app: Any, query_count: Callable[[], int]) -> None:
        """``query_count``: how many queries are being answered."""
        self.query_count = query_count
        self.answers: Counter[tuple[str, int]] = Counter()
        """How many, by resource and status."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """By resource, the time to the heads of the answers."""
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, and count its answer when its head is sent."""
        started = time.perf_counter()

        async def counting(message: Any) -> None:
            if message["type"] == "http.response.start":
                route = scope.get(_ROUTE, OTHER)
                self.seconds[route] += time.perf_counter() - started
                self.answers[route, message["status"]] += 1
            await send(message)

        await self._app(scope, receive, counting)
