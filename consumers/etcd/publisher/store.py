"""What the publisher needs of an etcd; `ingest.etcd.Client` is one. Whatever a method raises ends the connection."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

from ..held import Page


class Changes(Protocol):
    """Who else writes a key."""

    def next(self, timeout: float) -> Any:
        """The next batch, of `events` with `kv`; None when the time is over (Any: of the client)."""
        ...

    def close(self) -> None:
        """End it; whoever waits for the next batch is told by an exception."""
        ...


class KvStore(Protocol):
    """One connection. For several threads; `close` ends what they wait for."""

    def list(self, prefix: bytes, page_limit: int) -> Iterator[Page]:
        """All keys under a prefix, at one revision."""
        ...

    def write(self, puts: Iterable[tuple[bytes, bytes, int]], deletes: Iterable[bytes]) -> object:
        """Put keys under leases and delete others, in one transaction."""
        ...

    def get(self, key: bytes) -> Any:
        """The key as it is, `kv` or None, and the server's revision, `header.revision` (Any: of the client)."""
        ...

    def watch(self, starts: Mapping[bytes, int], keys: Collection[bytes]) -> Changes:
        """Follow single keys, each from a revision on."""
        ...

    def grant(self, ttl_s: int) -> int:
        """A new lease."""
        ...

    def renew(self, lease: int) -> int:
        """Renew a lease; 0 if it is there no more."""
        ...

    def ensure_users(self, roles: Mapping[str, frozenset[tuple[bytes, bool]]], users: Mapping[str, str]) -> None:
        """Let there be these roles, which may read keys or (True) prefixes, and these users, each with its role."""
        ...

    def close(self) -> None:
        """End it."""
        ...


Connect: TypeAlias = Callable[[], KvStore]
"""A new connection: to the next server, where the last one failed. Raises whatever keeps it from that."""
