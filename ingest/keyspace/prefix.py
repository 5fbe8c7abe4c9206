"""One prefix of an etcd: decodes its keys, and knows up to which revision it was read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from statedb.catalog.wire import WireError

from ..etcd import DELETE, KeyValue, WatchEvent
from ..events import Bad, Delete, Upsert, excerpt
from .kind import Copy, Kind


class Prefix:
    """The progress of reading one kind.

    ``known`` is the revision up to which it was read. ``listed``: it was listed at least once. ``due``: it must be
    listed (again). ``changes`` counts the puts that came from the watch, and ``lease`` is the lease of the last one.
    ``leases`` are all leases that its keys have had since the last list; 0 stands for keys without a lease.
    """

    def __init__(self, kind: Kind) -> None:
        """Nothing has been read."""
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
        """Decode a key and its value."""
        try:
            name = key.decode()
            return Upsert(self.feed, name, self.kind.decode(name[len(self.name) :], value))
        except WireError as error:
            return Bad(self.feed, key.decode(), str(error), excerpt(value))
        except UnicodeDecodeError:
            return Bad(self.feed, _text(key), "the key is not UTF-8", excerpt(value))

    def read_page(self, kvs: Iterable[KeyValue]) -> list[Upsert | Bad]:
        """Decode the keys of a list."""
        read = self.read
        return [read(kv.key, kv.value) for kv in kvs]

    def copy(self, key: bytes, value: bytes, copy: Copy) -> Upsert | Bad:
        """A key and its raw value, for the copy."""
        try:
            name = key.decode()
        except UnicodeDecodeError:
            return Bad(copy.feed, _copied(copy, key), "the key is not UTF-8", excerpt(value))
        return Upsert(copy.feed, _copied(copy, key), (copy.row(name[len(self.name) :], value),))

    def copy_event(self, event: WatchEvent, copy: Copy, doubts: Mapping[bytes, str]) -> Upsert | Bad | Delete:
        """An event with the raw value, for the copy. ``doubts``: keys whose deletion is doubted, with reasons."""
        kv = event.kv
        if event.type == DELETE:
            return Delete(copy.feed, _copied(copy, kv.key), doubts.get(kv.key, ""))
        return self.copy(kv.key, kv.value, copy)

    def read_event(self, event: WatchEvent, doubts: Mapping[bytes, str]) -> Upsert | Bad | Delete:
        """Decode an event. ``doubts``: the keys whose deletion is doubted, with the reasons."""
        kv = event.kv
        if event.type == DELETE:
            return Delete(self.feed, _text(kv.key), doubts.get(kv.key, "") if doubts else "")
        return self.read(kv.key, kv.value)


def _copied(copy: Copy, key: bytes) -> str:
    """The name of the copy of a key; it differs from the name of the decoded object."""
    return f"{copy.feed} {_text(key)}"


def _text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")
