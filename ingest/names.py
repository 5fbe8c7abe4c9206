"""Names into addresses without the machine's own resolver. Knows neither etcd nor who is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec


class Unresolved(Exception):
    """A name has no address now; the message says why, without the name of the option. Ask again later."""


class SocketAddress(msgspec.Struct, frozen=True):
    """Where somebody listens: an IP address and a port."""

    address: str
    port: int


class Resolver(Protocol):
    """Knows some names. For one thread at a time; `close` is for any."""

    def resolve(self, host: str, port: int) -> Sequence[SocketAddress] | None:
        """Where that is now, at least one place; None where the name is none of its own. Raises Unresolved."""
        ...

    def close(self) -> None:
        """Cut off what is being asked, and let no other question begin."""
        ...


MakeResolver: TypeAlias = Callable[[], Resolver]
"""Raises InvalidOptions where its configuration cannot be read."""
