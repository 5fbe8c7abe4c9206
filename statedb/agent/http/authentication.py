"""Passes requests with credentials on, and rejects all others before their path is examined."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from .access import Access

PEER = "statedb.peer"
"""The key of a request's state with the names in the client certificate of its connection; None without one."""

_READING = ("GET", "HEAD")


class Authentication:
    """ASGI middleware in front of an application."""

    def __init__(self, app: Any, access: Access) -> None:
        """``access`` knows the credentials."""
        self._app = app
        self._access = access

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer with 401 or 403, or pass the request on. The response does not depend on what exists."""
        authorization = Headers(scope=scope).get("authorization")
        role = self._access.role_of(authorization, scope.get("state", {}).get(PEER))
        if role is None:
            response = _refusal(
                401,
                "the token is not valid"
                if authorization
                else "credentials are needed: a header 'Authorization: Bearer TOKEN', or a client certificate",
                {"WWW-Authenticate": "Bearer"},
            )
        elif role != "operate" and scope["method"] not in _READING:
            response = _refusal(403, "these credentials may only read; this needs the role 'operate'", {})
        else:
            await self._app(scope, receive, send)
            return
        await response(scope, receive, send)


def _refusal(status: int, error: str, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse({"error": error}, status, headers=headers)
