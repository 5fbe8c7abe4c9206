"""The etcd client that a writer needs, as a protocol; `ingest.etcd.Client` is one. Exceptions end the connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

DELETE = 1
"""The type of a delete event; 0 is a put."""


class KeyValue(Protocol):
    """A key, its value, its lease (0: none), and the revision of its last change."""

    key: bytes
    value: bytes
    lease: int
    mod_revision: int


class Page(Protocol):
    """A page of a list, in key order, at one revision."""

    @property
    def kvs(self) -> Sequence[KeyValue]:
        """The keys of this page."""
        ...

    @property
    def revision(self) -> int:
        """The revision of the list, the same for all its pages."""
        ...


class Event(Protocol):
    """A change of a key: a put, or a deletion."""

    type: int
    kv: KeyValue


class Changes(Protocol):
    """A watch."""

    def next(self) -> Any:
        """Block until the next batch, with `events`, or None for an answer without news (Any: the client's type)."""
        ...

    def close(self) -> None:
        """End the watch. A thread that waits for the next batch gets an exception."""
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
        """The error message of the server."""
        ...


class Store(Protocol):
    """One connection. For several threads; `close` ends their requests."""

    def list(self, prefix: bytes, page_limit: int) -> Iterator[Page]:
        """All keys under a prefix, at one revision."""
        ...

    def get(self, key: bytes) -> Any:
        """Read a key: the result has `kv`, which may be None (Any: the client's type)."""
        ...

    def watch(self, starts: Mapping[bytes, int], keys: Collection[bytes], *, blocks: Literal[True]) -> Changes:
        """Watch prefixes, each from a revision on. Those in ``keys`` are watched as single keys."""
        ...

    def commit(
        self,
        puts: Iterable[tuple[bytes, bytes, int]],
        deletes: Iterable[bytes],
        fence: tuple[bytes, bytes] | None,
        attached: Mapping[bytes, int],
    ) -> Commit:
        """Put keys with leases and delete keys in one transaction.

        Only if the fence's key has the fence's value, and the keys of ``attached`` have their leases.
        """
        ...

    def delete(self, key: bytes) -> int:
        """Delete a key, which need not exist."""
        ...

    def create(self, key: bytes, value: bytes, lease: int) -> bool:
        """Write a key only if it does not exist. Returns whether it was written."""
        ...

    def grant(self, ttl_s: int) -> int:
        """Grant a lease and return its id."""
        ...

    def renew_all(self, leases: Iterable[int]) -> dict[int, int]:
        """Renew leases. Returns the time to live of each in seconds, 0 for those that have ended."""
        ...

    def revoke(self, lease: int) -> None:
        """Revoke a lease: its keys are deleted at once."""
        ...

    def close(self) -> None:
        """Close the connection. From any thread, more than once."""
        ...


Connect: TypeAlias = Callable[[], Any]
"""Makes a new connection, a `Store`, to the next server after a failure. May raise any exception."""


def encode(key: str) -> bytes:
    """A key as bytes. Keys that are not UTF-8 are preserved."""
    return key.encode("utf-8", "surrogateescape")


def decode(key: bytes) -> str:
    """The reverse of `encode`."""
    return key.decode("utf-8", "surrogateescape")


def beat_value(time_value: bytes, doubt: str) -> bytes:
    """The value of a heartbeat: a time, followed by the reason why the keys may be out of date, if there is one."""
    return time_value if not doubt else time_value + b" " + doubt.encode()


def time_value(seconds: float) -> bytes:
    """A time in Unix seconds, in the format that Cilium writes."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)).encode()
