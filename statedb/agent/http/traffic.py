"""Counts the requests of an application by resource and status."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

_ROUTE = "statedb.route"
OTHER = "other"
"""Stands for all paths without a resource, and for requests that are refused before their path is examined."""


def route_of(scope: Any, path: str) -> None:
    """Record the resource of a request. ``path`` has no parts of the request, so there are few of them."""
    scope[_ROUTE] = path


class Traffic:
    """ASGI middleware around a whole application. Used on one event loop; any thread may read its figures."""

    def __init__(self, app: Any, query_count: Callable[[], int]) -> None:
        """``query_count`` returns the number of queries that are being answered."""
        self.query_count = query_count
        self.answers: Counter[tuple[str, int]] = Counter()
        """The number of responses by resource and status."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """For each resource, the total time until the headers of the responses."""
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, and count its response when its headers are sent."""
        started = time.perf_counter()

        async def counting(message: Any) -> None:
            if message["type"] == "http.response.start":
                route = scope.get(_ROUTE, OTHER)
                self.seconds[route] += time.perf_counter() - started
                self.answers[route, message["status"]] += 1
            await send(message)

        await self._app(scope, receive, counting)
