"""The interface of resolvers that replace the machine's own. Knows neither etcd nor any resolver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec


class Unresolved(Exception):
    """A name has no address now; try again later. The message has the reason, without the name of the option."""


class SocketAddress(msgspec.Struct, frozen=True):
    """An IP address and a port."""

    address: str
    port: int


class Resolver(Protocol):
    """Resolves some names. For one thread at a time; `close` may be called from any thread."""

    def resolve(self, host: str, port: int) -> Sequence[SocketAddress] | None:
        """The present addresses, at least one; None if the resolver is not responsible for the name.

        Raises Unresolved.
        """
        ...

    def close(self) -> None:
        """Cancel the current request, and allow no further one."""
        ...


MakeResolver: TypeAlias = Callable[[], Resolver]
"""Raises InvalidOptions where its configuration cannot be read."""
