"""What the cache needs of an etcd; `ingest.etcd.Client` is one. Whatever a method raises ends the connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias

from ..held import Page


class Store(Protocol):
    """One connection. For one thread, but `close` is for any, and ends what it waits for."""

    def list(self, prefix: bytes, page_limit: int) -> Iterator[Page]:
        """All keys under a prefix, at one revision."""
        ...

    def put(self, key: bytes, value: bytes, lease: int) -> object:
        """Write a key under a lease."""
        ...

    def put_many(self, items: Iterable[tuple[bytes, bytes]], lease: int) -> object:
        """Write keys under a lease in one transaction."""
        ...

    def delete(self, key: bytes) -> int:
        """Delete a key, which need not be there."""
        ...

    def delete_prefix(self, prefix: bytes) -> int:
        """Delete all keys under a prefix."""
        ...

    def grant(self, ttl_s: int) -> int:
        """A new lease."""
        ...

    def renew(self, lease: int) -> int:
        """Renew a lease; 0 if it is there no more."""
        ...

    def close(self) -> None:
        """End it."""
        ...


Connect: TypeAlias = Callable[[], Store]
"""A new connection: to the next server, where the last one failed. Raises whatever keeps it from that."""
