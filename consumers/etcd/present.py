"""The content of an etcd as far as a writer knows it: keys, values, leases, revisions. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A value, its lease (0: none), and the revision of the key's last change."""

    value: bytes
    lease: int
    revision: int


class Present:
    """The known keys with their entries. For one thread; others may call `get`, ``in``, `len` and `leases`.

    >>> present = Present(); present.put("a/x", b"1", lease=7, revision=5)
    >>> "a/x" in present, present.keys_of(7), present.drop_lease(7), len(present)
    (True, 1, ['a/x'], 0)
    """

    def __init__(self) -> None:
        """Empty."""
        self._entries: dict[str, Entry] = {}
        self._leases: Counter[int] = Counter()

    def __len__(self) -> int:
        """The number of keys."""
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        """Whether the key exists."""
        return key in self._entries

    def get(self, key: str) -> Entry | None:
        """The entry of a key, or None."""
        return self._entries.get(key)

    def names(self) -> list[str]:
        """All keys."""
        return list(self._entries)

    def leases(self) -> list[int]:
        """The leases that have keys."""
        return [lease for lease in list(self._leases) if lease]

    def keys_of(self, lease: int) -> int:
        """The number of keys of a lease."""
        return self._leases[lease]

    def put(self, key: str, value: bytes, lease: int, revision: int) -> None:
        """Record that a key was written."""
        self.put_all({key: (value, lease)}, revision)

    def put_all(self, values: Mapping[str, tuple[bytes, int]], revision: int) -> None:
        """Record that keys were written, each with its value and its lease."""
        entries = self._entries
        for key, (value, lease) in values.items():
            old = entries.get(key)
            if old is None or old.lease != lease:
                self._forget_lease(old)
                self._leases[lease] += 1
            entries[key] = Entry(value, lease, revision)

    def drop(self, key: str) -> None:
        """Record that a key was deleted. An unknown key is ignored."""
        self._forget_lease(self._entries.pop(key, None))

    def under(self, leases: Iterable[int]) -> list[str]:
        """The keys attached to these leases. Cost: O(all keys)."""
        wanted = set(leases)
        return [key for key, entry in self._entries.items() if entry.lease in wanted]

    def witnesses(self, most: int) -> dict[int, str]:
        """A key of each of the newest ``most`` leases. All keys of a lease go at once. Cost: O(all keys)."""
        found = {entry.lease: key for key, entry in self._entries.items() if entry.lease}
        return {lease: found[lease] for lease in list(found)[-most:]}

    def drop_lease(self, lease: int) -> list[str]:
        """Record that a lease has ended. Returns the keys that were attached to it. Cost: O(all keys)."""
        gone = self.under([lease])
        for key in gone:
            self.drop(key)
        return gone

    def _forget_lease(self, entry: Entry | None) -> None:
        if entry is None:
            return
        self._leases[entry.lease] -= 1
        if not self._leases[entry.lease]:
            del self._leases[entry.lease]
