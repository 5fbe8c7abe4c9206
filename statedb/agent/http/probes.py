"""The application of a listener for probes and scrapers: only health, readiness and metrics, and no tables."""

from __future__ import annotations

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..metrics.exposition import Metrics
from ..readiness import Readiness
from .guard import Guard
from .limits import Limits

LIMITS = Limits(connections=256, request_s=5.0, write_s=5.0)


def make_probes(readiness: Readiness, metrics: Metrics) -> Guard:
    """The application. It answers probes with a status and one word. Details are only at the other listener."""
    answers = _Answers(readiness, metrics)
    routes = [
        Route("/healthz", answers.health, methods=["GET"]),
        Route("/livez", answers.health, methods=["GET"]),
        Route("/readyz", answers.ready, methods=["GET"]),
        Route("/metrics", answers.metrics, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _error_response})
    app.router.redirect_slashes = False
    return Guard(app, browsers=True, loopback=False)


class _Answers:
    def __init__(self, readiness: Readiness, metrics: Metrics) -> None:
        self._readiness = readiness
        self._metrics = metrics
        self._thread = anyio.CapacityLimiter(1)

    async def health(self, _: Request) -> Response:
        return _status("failed") if self._readiness.failures() else _status("ok")

    async def ready(self, _: Request) -> Response:
        return _status("not ready") if self._readiness.missing() else _status("ready")

    async def metrics(self, request: Request) -> Response:
        accept = request.headers.get("accept", "")
        body, media_type = await anyio.to_thread.run_sync(self._metrics.expose, accept, limiter=self._thread)
        return Response(body, headers={"Content-Type": media_type})


def _status(word: str) -> Response:
    return JSONResponse({"status": word}, 200 if word in ("ok", "ready") else 503)


async def _error_response(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"error": "here are /livez, /healthz, /readyz and /metrics, for GET"}, status)
