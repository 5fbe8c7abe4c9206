"""One prefix of the etcd: what its keys say, and up to which revision we know it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from statedb.catalog.wire import WireError

from ..etcd import DELETE, KeyValue, WatchEvent
from ..events import Bad, Delete, Upsert, excerpt
from .kind import Copy, Kind


class Prefix:
    """Where we are with one kind.

    ``known`` is the revision up to which we know it. ``listed``: it was listed once. ``due``: it must be (again).
    ``changes`` counts the puts that a watch has told: somebody writes here; ``lease`` is that of the last one.
    ``leases`` are those that its keys have hung on since the last list; 0 stands for keys without one.
    """

    def __init__(self, kind: Kind) -> None:
        """Nothing known."""
        self.kind = kind
        self.feed = kind.feed or kind.prefix
        self.name = kind.prefix
        self.key = kind.prefix.encode()
        self.known = 0
        self.listed = False
        self.due = True
        self.changes = 0
        self.lease = 0
        self.leases: set[int] = set()

    def key_of(self, name: str, copy: Copy | None = None) -> bytes:
        """The key of an object of this prefix, or of its copy."""
        text = name if copy is None else name.removeprefix(f"{copy.feed} ")
        try:
            return text.encode()
        except UnicodeEncodeError:
            return b""

    def read(self, key: bytes, value: bytes) -> Upsert | Bad:
        """What a key and its value say."""
        try:
            name = key.decode()
            return Upsert(self.feed, name, self.kind.decode(name[len(self.name) :], value))
        except WireError as error:
            return Bad(self.feed, key.decode(), str(error), excerpt(value))
        except UnicodeDecodeError:
            return Bad(self.feed, _text(key), "the key is not UTF-8", excerpt(value))

    def read_page(self, kvs: Iterable[KeyValue]) -> list[Upsert | Bad]:
        """What the keys of a list say."""
        read = self.read
        return [read(kv.key, kv.value) for kv in kvs]

    def copy(self, key: bytes, value: bytes, copy: Copy) -> Upsert | Bad:
        """A key and its value as they are."""
        try:
            name = key.decode()
        except UnicodeDecodeError:
            return Bad(copy.feed, _copied(copy, key), "the key is not UTF-8", excerpt(value))
        return Upsert(copy.feed, _copied(copy, key), (copy.row(name[len(self.name) :], value),))

    def copy_event(self, event: WatchEvent, copy: Copy, doubts: Mapping[bytes, str]) -> Upsert | Bad | Delete:
        """An event as it is. ``doubts``: the keys whose deletion is not believed, and why."""
        kv = event.kv
        if event.type == DELETE:
            return Delete(copy.feed, _copied(copy, kv.key), doubts.get(kv.key, ""))
        return self.copy(kv.key, kv.value, copy)

    def read_event(self, event: WatchEvent, doubts: Mapping[bytes, str]) -> Upsert | Bad | Delete:
        """What an event says. ``doubts``: the keys whose deletion is not believed, and why."""
        kv = event.kv
        if event.type == DELETE:
            return Delete(self.feed, _text(kv.key), doubts.get(kv.key, "") if doubts else "")
        return self.read(kv.key, kv.value)


def _copied(copy: Copy, key: bytes) -> str:
    """Another object than the one of the same key that is decoded."""
    return f"{copy.feed} {_text(key)}"


def _text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")
