"""One question to an API server, as it is counted and named in errors."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Request(msgspec.Struct, frozen=True):
    """What is asked. ``verb`` is Kubernetes' word (get, list, watch). ``accept`` is a media type; empty for JSON."""

    verb: str
    resource: str
    path: str
    parameters: Mapping[str, str] = {}
    accept: str = ""

    def __str__(self) -> str:
        """``list ciliumnodes.cilium.io``."""
        return f"{self.verb} {self.resource}"
