"""Refuses requests that a foreign web page makes through its visitor's browser, and requests with large bodies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from ..address import is_loopback

_BODY_BYTES_MAX = 64 * 1024
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:@/\[\]]+))(?::[0-9]{1,5})?")


class Guard:
    """ASGI middleware in front of an application."""

    def __init__(self, app: Any, *, browsers: bool, loopback: bool = True) -> None:
        """``browsers``: whether browsers can reach the address, unlike a Unix socket.

        ``loopback``: whether only programs on this machine can, so that ``Host`` must be loopback.
        """
        self._app = app
        self._browsers = browsers
        self._loopback = loopback

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer with an error, or pass the request on."""
        headers = Headers(scope=scope)
        refusal = None
        if self._browsers:
            refusal = rebinding_refusal(headers) if self._loopback else None
            if refusal is None and not _is_page_navigation(scope, headers):
                refusal = cross_site_refusal(headers, scope["scheme"])
        refusal = refusal or body_refusal(headers)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            status, error = refusal
            response = JSONResponse({"error": error}, status, headers={"Connection": "close"})
            await response(scope, receive, send)


def rebinding_refusal(headers: Mapping[str, str]) -> tuple[int, str] | None:
    """Refuse a ``Host`` that is not loopback: its name may resolve to this address on purpose (DNS rebinding)."""
    match = _HOST.fullmatch(headers.get("host", ""))
    if match is None or not is_loopback(match["v6"] or match["name"]):
        return 421, "the Host header is not a loopback address; use 127.0.0.1 or localhost"
    return None


def cross_site_refusal(headers: Mapping[str, str], scheme: str = "http") -> tuple[int, str] | None:
    """A status and a reason to refuse a request that comes from a page of another site; None for all others.

    ``Origin`` must be this server itself, port included, and ``Sec-Fetch-Site`` must not be another site. Browsers send
    these headers, programs do not.
    """
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"{scheme}://{headers.get('host', '').lower()}":
        return 403, "requests from other sites are not answered"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return 403, "requests from other sites are not answered"
    return None


def _is_page_navigation(scope: Any, headers: Mapping[str, str]) -> bool:
    """Whether a user follows a link to the web page, which contains no data.

    The other site cannot read it: it opens as a document of its own (``Sec-Fetch-Dest: document``, not a frame), and
    the header ``Cross-Origin-Opener-Policy`` isolates its window. Later requests come from the page itself.
    """
    return (
        (scope["method"], scope["path"]) == ("GET", "/")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
        and "origin" not in headers
    )


def body_refusal(headers: Mapping[str, str]) -> tuple[int, str] | None:
    """Refuse a large body. No request needs one; small ones are ignored, because some clients always send one."""
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isascii() or not length.isdigit() or int(length) > _BODY_BYTES_MAX:
        return 413, f"a body has at most {_BODY_BYTES_MAX} bytes; none is needed"
    return None
