"""A request to an API server, as it is counted and named in errors."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Request(msgspec.Struct, frozen=True):
    """A request. ``verb`` is a verb of Kubernetes (get, list, watch). ``accept`` is a media type; empty for JSON.

    ``name`` is the name of its object, if it is about one object.
    """

    verb: str
    resource: str
    path: str
    parameters: Mapping[str, str] = {}
    accept: str = ""
    method: str = "GET"
    body: bytes = b""
    content_type: str = ""
    name: str = ""

    def __str__(self) -> str:
        """``list ciliumnodes.cilium.io``, ``patch pods web-1``."""
        return f"{self.verb} {self.resource}{' ' + self.name if self.name else ''}"
