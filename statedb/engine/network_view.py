"""Views of indexes of IP networks at one instant."""

from __future__ import annotations

from collections.abc import Iterator

from .concern import key_concern, prefix_concern
from .index_views import AnyIndexView
from .networks import covering, length_of, pack, span, unpack
from .schema import N, R
from .states import Key
from .watch import Watch


class PrefixIndexView(AnyIndexView[N, R]):
    """An index of IP networks at one instant.

    Networks and addresses are text, 4 or 16 packed bytes, or ipaddress objects. Raises InvalidKey for anything else.
    """

    __slots__ = ()

    @staticmethod
    def _as_given(key: Key) -> str:
        """A stored key in the form that users write."""
        return str(unpack(key))

    def __getitem__(self, network: N) -> tuple[R, ...]:
        """The rows of exactly this network, in primary key order; empty if there are none."""
        return self._listed(self._index.index.normal(network))

    def get(self, network: N) -> tuple[R, ...]:
        """The same as ``view[network]``."""
        return self[network]

    def keys(self) -> tuple[str, ...]:
        """The networks that have rows, as text, ordered by family, address and prefix length."""
        self._source.check_open()
        return tuple(map(self._as_given, self._keys()))

    def __iter__(self) -> Iterator[str]:
        """The networks that have rows, as in ``keys``."""
        return iter(self.keys())

    def __reversed__(self) -> Iterator[str]:
        """The networks that have rows, in descending order."""
        return reversed(self.keys())

    def values(self) -> tuple[tuple[R, ...], ...]:
        """The rows of each network, in the order of ``keys``."""
        return tuple([self._listed(key) for key in self._keys()])

    def items(self) -> tuple[tuple[str, tuple[R, ...]], ...]:
        """The pairs of a network, as text, and its rows."""
        return tuple(zip(self.keys(), self.values()))

    def longest(self, address: N) -> tuple[R, ...]:
        """The rows of the longest network that covers this address or network; empty if there is none.

        Several rows of one network come in primary key order. Cost: one lookup for each prefix length in the index.
        """
        rows = self._rows_of(self._index.nearest(pack(address)))
        if self._commit.link is None:
            return rows
        self._source.check_open()
        if not self._source.layers():
            return rows
        for key in reversed(self._covering(address)):
            rows = self._listed(key)
            if rows:
                return rows
        return ()

    def covering(self, network: N) -> tuple[R, ...]:
        """The rows of every network that covers this one, this one included, the widest first."""
        self._source.check_open()
        return self._over(self._covering(network))

    def within(self, network: N) -> tuple[R, ...]:
        """The rows of every network inside this one, this one included, parents before children."""
        self._source.check_open()
        outer = self._index.index.normal(network)
        first, last = span(outer)
        size = length_of(outer)
        keys = self._source.index_keys(self._index, first, last + b"\0")
        return self._over([key for key in keys if length_of(key) >= size])

    def _covering(self, network: N) -> list[bytes]:
        """The packed networks that may cover this one, the widest first."""
        packed = self._index.index.normal(network)
        lengths = set(self._index.lengths or ())
        for layer in self._source.layers():
            lengths.update(map(length_of, layer.index(self._index.position)))
        return covering(packed, list(lengths))

    def watch(self, network: N) -> Watch:
        """A watch on the rows of exactly this network."""
        return self._source.watch(key_concern(self._index.position, (self._index.index.normal(network),)))

    def watch_longest(self, address: N) -> Watch:
        """A watch on every network that covers this address. It trips when ``longest`` or ``covering`` may differ."""
        packed = self._index.index.normal(address)
        return self._source.watch(
            key_concern(self._index.position, tuple(covering(packed, list(range(length_of(packed) + 1)))))
        )

    def watch_within(self, network: N) -> Watch:
        """A watch on every network inside this one."""
        outer = self._index.index.normal(network)
        first, last = span(outer)
        size = length_of(outer)
        concern = prefix_concern(
            self._index.position, outer, lambda key: first <= key <= last and length_of(key) >= size, size
        )
        return self._source.watch(concern)
