"""What a writer needs of an etcd; `ingest.etcd.Client` is one. Whatever a method raises ends the connection."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

DELETE = 1
"""The type of an event that tells of a deletion; 0 is a put."""


class KeyValue(Protocol):
    """A key, its value, the lease under which it stands (0: none), and the revision of its last change."""

    key: bytes
    value: bytes
    lease: int
    mod_revision: int


class Page(Protocol):
    """A part of a list, in key order, as of one revision."""

    @property
    def kvs(self) -> Sequence[KeyValue]:
        """The keys of this part."""
        ...

    @property
    def revision(self) -> int:
        """The revision that all pages of the list show."""
        ...


class Event(Protocol):
    """A change of a key: a put, or a deletion."""

    type: int
    kv: KeyValue


class Changes(Protocol):
    """A watch."""

    def next(self, timeout: float) -> Any:
        """The next batch, of `events`; None when the time is over (Any: of the client)."""
        ...

    def close(self) -> None:
        """End it; whoever waits for the next batch gets an exception."""
        ...


class Commit(Protocol):
    """The outcome of a transaction."""

    @property
    def revision(self) -> int:
        """The revision at which it was written."""
        ...

    @property
    def refusal(self) -> str:
        """Empty, or "too large", "too many", "no space", "denied", "no lease", "fenced"."""
        ...

    @property
    def reason(self) -> str:
        """The server's words."""
        ...


class Store(Protocol):
    """One connection. For several threads; `close` ends what they wait for."""

    def list(self, prefix: bytes, page_limit: int) -> Iterator[Page]:
        """All keys under a prefix, at one revision."""
        ...

    def get(self, key: bytes) -> Any:
        """The key as it is: `kv`, which may be None (Any: of the client)."""
        ...

    def watch(self, starts: Mapping[bytes, int], keys: Collection[bytes]) -> Changes:
        """Follow prefixes, each from a revision on; those among ``keys`` are single keys."""
        ...

    def commit(
        self, puts: Iterable[tuple[bytes, bytes, int]], deletes: Iterable[bytes], fence: tuple[bytes, bytes] | None
    ) -> Commit:
        """Put keys under leases and delete others in one transaction, if the fence's key has the fence's value."""
        ...

    def delete(self, key: bytes) -> int:
        """Delete a key, which need not be there."""
        ...

    def create(self, key: bytes, value: bytes, lease: int) -> bool:
        """Write a key only if it is not there; whether it was written."""
        ...

    def grant(self, ttl_s: int) -> int:
        """A new lease."""
        ...

    def renew_all(self, leases: Iterable[int]) -> dict[int, int]:
        """Renew leases; the seconds that each lives now, 0 for those that have ended."""
        ...

    def revoke(self, lease: int) -> None:
        """End a lease: its keys go at once."""
        ...

    def close(self) -> None:
        """End it. From any thread, more than once."""
        ...


Connect: TypeAlias = Callable[[], Any]
"""A new connection, a `Store`: to the next server, where the last one failed. Raises whatever keeps it from that."""


def encode(key: str) -> bytes:
    """A key as etcd has it; keys that are not UTF-8 stay as they are."""
    return key.encode("utf-8", "surrogateescape")


def decode(key: bytes) -> str:
    """The reverse of `encode`."""
    return key.decode("utf-8", "surrogateescape")
