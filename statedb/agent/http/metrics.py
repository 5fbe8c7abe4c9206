"""Metrics of the HTTP server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.registry import Collector

from ..metrics.families import Families
from .limits import Limits
from .server import Server
from .streams import Streams
from .traffic import Traffic

_DECLARED = (
    ("counter", "http_requests", "Requests that were answered, by resource and status.", ("path", "code")),
    ("counter", "http_errors", "Requests that failed by a bug (500).", ()),
    ("summary", "http_request_seconds", "Time to the head of the answer.", ("path",)),
    ("gauge", "http_connections", "Connections that are open.", ()),
    ("gauge", "http_connections_limit", "How many may be open.", ()),
    ("counter", "http_connections_opened", "Connections that were opened.", ()),
    (
        "counter",
        "http_connections_crowded",
        "Connections that found no room; an idle one was closed for them.",
        (),
    ),
    ("counter", "http_slow_requests", "Connections that were closed because no request came in time.", ()),
    ("counter", "http_slow_readers", "Connections that were cut because nobody took the answer.", ()),
    ("gauge", "http_streams", "Change streams that are open.", ()),
    ("gauge", "http_streams_limit", "How many may be open.", ()),
    ("gauge", "http_queries", "Queries that are being answered.", ()),
    ("gauge", "http_queries_limit", "How many may be answered at once.", ()),
)


class ServerCollector(Collector):
    """Cost: O(resources and statuses), which are few."""

    def __init__(self, server: Server, traffic: Traffic, streams: Streams, limits: Limits) -> None:
        """The parts that count."""
        self._server = server
        self._traffic = traffic
        self._streams = streams
        self._limits = limits

    def collect(self) -> Iterator[Metric]:
        """All families."""
        families, counts = Families(*_DECLARED), self._server.counts
        self._add_requests(families)
        families.add("http_connections", (), self._server.connection_count)
        families.add("http_connections_limit", (), self._limits.connections)
        families.add("http_connections_opened", (), counts.opened)
        families.add("http_connections_crowded", (), counts.refused)
        families.add("http_slow_requests", (), counts.slow_requests)
        families.add("http_slow_readers", (), counts.slow_readers)
        families.add("http_streams", (), len(self._streams))
        families.add("http_streams_limit", (), self._limits.streams)
        families.add("http_queries", (), self._traffic.query_count())
        families.add("http_queries_limit", (), self._limits.queries)
        yield from families

    def _add_requests(self, families: Families) -> None:
        of_path: Counter[str] = Counter()
        errors = 0
        for (path, status), count in list(self._traffic.answers.items()):
            families.add("http_requests", (path, str(status)), count)
            of_path[path] += count
            errors += count if status == 500 else 0
        families.add("http_errors", (), errors)
        for path, count in of_path.items():
            families.add_summary("http_request_seconds", (path,), count, self._traffic.seconds.get(path, 0.0))
