"""The static files of the web page: ``/`` is its HTML, ``/page/NAME`` its style sheets and scripts."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..traffic import route_of

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FIRST = "index.html"
_COUNTED_AS = "/page"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Nothing is loaded from other sites, no script can be injected into the page, and no other page can frame it."""


def routes() -> list[Route]:
    """A route for each file. The files are read once, here."""
    folder = Path(__file__).parent / "static"
    return [
        _route(f"/page/{each.name}" if each.name != _FIRST else "/", each.read_bytes(), _TYPES[kind])
        for each in folder.iterdir()
        if (kind := each.name.rpartition(".")[2]) in _TYPES
    ]


def _route(path: str, content: bytes, media_type: str) -> Route:
    async def answer(request: Request) -> Response:
        route_of(request.scope, _COUNTED_AS)
        return Response(content, media_type=media_type, headers=HEADERS)

    return Route(path, answer, methods=["GET"])
