"""The ASGI application: routes requests to resources and turns their replies and errors into responses.

Probes are answered on the event loop. Rows are looked up on two other threads and encoded on a third, in pieces, so a
large answer does not delay other requests. At most 256 queries may run at once. Change streams have a separate limit.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ..errors import AgentError, BadRequest, NoRow, NotFound, Overloaded
from ..metrics.exposition import Metrics
from ..wording import suggestion
from .access import Access
from .authentication import Authentication
from .guard import Guard
from .limits import Limits
from .openapi import document
from .page import files
from .page.live import Live
from .parameters import Parameters
from .pieces import PIECE_BYTES
from .query import table_named
from .resource import RESOURCES, Resource
from .resources import Reply, Resources, as_json
from .streams import ENCODING_THREADS, Streams
from .traffic import Traffic, route_of

log = logging.getLogger("statedb.agent")

_OPENAPI_PATH = "/openapi.json"
_METRICS_PATH = "/metrics"
_QUERY_THREADS = 2
"""The number of threads that look up rows. With only one, a slow query would delay all others."""


def make_app(
    resources: Resources,
    streams: Streams,
    limits: Limits | None = None,
    *,
    metrics: Metrics | None = None,
    access: Access | None = None,
    browsers: bool = True,
    loopback: bool = True,
    live: Live | None = None,
) -> Traffic:
    """The application. ``browsers``: whether a browser can reach its address, so that it must refuse some requests.

    ``loopback``: whether it can be reached only from this machine. With ``access`` every request needs credentials.
    Without ``live`` the web page stays empty.
    """
    metrics = metrics or Metrics(resources.db, resources.readiness)
    answers = _Answers(resources, streams, metrics, limits or Limits(), live)
    routes = [Route(_pattern(each), answers.endpoint(each), methods=[each.method]) for each in RESOURCES]
    routes.append(Route(_OPENAPI_PATH, answers.openapi, methods=["GET"]))
    routes.append(Route(_METRICS_PATH, answers.metrics, methods=["GET"]))
    routes += files.routes()
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_route})
    app.router.redirect_slashes = False
    guarded = app if access is None else Authentication(app, access)
    return Traffic(Guard(guarded, browsers=browsers, loopback=loopback), answers.query_count)


class _Answers:
    """Answers requests to resources. Used on one event loop."""

    def __init__(
        self, resources: Resources, streams: Streams, metrics: Metrics, limits: Limits, live: Live | None
    ) -> None:
        self._resources = resources
        self._live = live
        self._streams = streams
        self._metrics = metrics
        self._metrics_thread = anyio.CapacityLimiter(1)  # a separate one, so that a scrape never waits for queries
        self._query_threads = anyio.CapacityLimiter(_QUERY_THREADS)
        self._encoding_thread = anyio.CapacityLimiter(ENCODING_THREADS)
        self._queries_max = limits.queries
        self._query_count = 0

    def endpoint(self, resource: Resource) -> Callable[[Request], Any]:
        """The function that Starlette calls for a request."""

        async def endpoint(request: Request) -> Response:
            route_of(request.scope, resource.path)
            try:
                return await self._answer(resource, request)
            except AgentError as error:
                return _error_response(error)
            except Exception as error:
                log.exception("a request failed: %s", request.url.path)
                message = f"internal error: {type(error).__name__}; see the log of the agent"
                return _complete(as_json(500, {"error": message}))

        return endpoint

    def query_count(self) -> int:
        """The number of queries that are being answered."""
        return self._query_count

    async def metrics(self, request: Request) -> Response:
        """The metrics for Prometheus, computed on a thread of its own."""
        route_of(request.scope, _METRICS_PATH)
        accept = request.headers.get("accept", "")
        body, media_type = await to_thread.run_sync(self._metrics.expose, accept, limiter=self._metrics_thread)
        return Response(body, headers={"Content-Type": media_type})

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI description of this interface."""
        route_of(request.scope, _OPENAPI_PATH)
        return _complete(as_json(200, document(self._resources.db, RESOURCES)))

    async def _answer(self, resource: Resource, request: Request) -> Response:
        parameters = Parameters(request.query_params.multi_items())
        if resource.kind == "page" and self._live is not None:
            parameters.only()
            return _Streaming(request, self._live.lines(), lines=True)
        if resource.respond is None:
            parameters.only(*resource.parameters)
            table = table_named(self._resources.db, request.path_params["table"])
            return _Streaming(request, self._streams.lines(table, parameters.texts("key")), lines=True)
        if resource.kind == "probe":
            return _complete(resource.respond(self._resources, request.path_params, parameters))
        with ExitStack() as query:
            self._begin_query()
            query.callback(self._end_query)
            ask = partial(resource.respond, self._resources, request.path_params, parameters)
            reply = await to_thread.run_sync(ask, limiter=self._query_threads)
            if isinstance(reply.body, tuple):
                return _complete(reply)
            pieces = self._pieces(iter(reply.body))
            first = b""
            async for piece in pieces:
                first += piece
                if len(first) > PIECE_BYTES:
                    rest = _with_first(first, pieces)
                    return _Streaming(request, rest, lines=reply.lines, ended=query.pop_all().close)
            return _complete(Reply(reply.status, (first,), lines=reply.lines))

    def _begin_query(self) -> None:
        if self._query_count >= self._queries_max:
            raise Overloaded(f"{self._queries_max} queries are being answered already; ask again")
        self._query_count += 1

    def _end_query(self) -> None:
        self._query_count -= 1

    async def _pieces(self, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        while piece := await to_thread.run_sync(next, pieces, b"", limiter=self._encoding_thread):
            yield piece


class _Streaming(StreamingResponse):
    """A response of unknown length; empty for HEAD. ``ended`` is called when the response has ended."""

    def __init__(
        self, request: Request, pieces: AsyncIterator[bytes], *, lines: bool, ended: Callable[[], None] | None = None
    ) -> None:
        super().__init__(_nothing() if request.method == "HEAD" else pieces, media_type=_media_type(lines=lines))
        self._ended = ended

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._ended is not None:
                self._ended()


def _pattern(resource: Resource) -> str:
    """The path for Starlette. A table name may have slashes here, so a wrong name gets the error for unknown tables."""
    return resource.path.replace("{table}", "{table:path}")


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def _complete(reply: Reply) -> Response:
    return Response(b"".join(reply.body), reply.status, media_type=_media_type(lines=reply.lines))


def _media_type(*, lines: bool) -> str:
    return "application/jsonl" if lines else "application/json"


def _error_response(error: AgentError) -> Response:
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    more = {"missing": "row"} if isinstance(error, NoRow) else {}
    return _complete(as_json(status, {"error": str(error), **more}))


async def _no_route(request: Request, error: Exception) -> Response:
    """The response when Starlette found no resource, or none with this method."""
    path = request.url.path
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        message = f"{path} does not take {request.method[:20]}; it takes {allowed}"
        response = _complete(as_json(405, {"error": message}))
        response.headers["Allow"] = allowed
        return response
    paths = [*[each.path for each in RESOURCES], _OPENAPI_PATH, _METRICS_PATH]
    return _complete(as_json(404, {"error": f"nothing is at {path[:60]!r}; {suggestion(paths, path)}"}))


_STATUSES = ((BadRequest, 400), (NotFound, 404), (Overloaded, 503))
