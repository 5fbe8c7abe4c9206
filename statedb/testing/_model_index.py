"""Indexes of a model, which store nothing: each read scans all rows. Networks are ``ipaddress`` objects here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from statedb.engine.errors import RowNotFound
from statedb.engine.keys import fields_of
from statedb.engine.networks import Network
from statedb.engine.schema import AnyIndex, PrefixIndex, TextPrefixIndex, UniqueIndex

Key = Any  # rows and keys are the user's
Row = Any


def under(key: Key, prefix: Any) -> bool:
    """Whether a key has a prefix: a leading part of text or bytes, or leading fields."""
    if isinstance(prefix, (str, bytes)):
        return bool(key[: len(prefix)] == prefix)
    leading = fields_of(prefix) or ()
    return (fields_of(key) or ())[: len(leading)] == leading


def in_range(key: Key, start: Key, stop: Key, bounds: str) -> bool:
    """Whether a key is between these ends. Ends in square brackets are included."""
    if start is not None and (key < start or (key == start and bounds[0] == "(")):
        return False
    return stop is None or bool(key < stop) or bool(key == stop and bounds[1] == "]")


@lru_cache(maxsize=1024)
def as_network(network: Network) -> IPv4Network | IPv6Network:
    """An address or network in any of the accepted forms, with host bits cleared."""
    if isinstance(network, bytes):
        return ip_network(ip_address(network))
    return ip_network(network, strict=False)


def _order_of(network: IPv4Network | IPv6Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


def covers(outer: IPv4Network | IPv6Network, inner: IPv4Network | IPv6Network) -> bool:
    """Whether one network contains or equals another. False between IPv4 and IPv6."""
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


class ModelIndex:
    """A multi-valued index of a model."""

    def __init__(self, rows: dict[Key, Row], keys_of: Callable[[Row], Iterable[Key]]) -> None:
        """An index of these rows, which are scanned in each read."""
        self._rows = rows
        self._keys_of = keys_of

    def _pairs(self, matches: Callable[[Key], bool], *, reverse: bool = False) -> list[tuple[Key, Key]]:
        """The matching pairs of index key and primary key, in ascending or descending order."""
        pairs = {(k, key) for key, row in self._rows.items() for k in self._keys_of(row) if matches(k)}
        return sorted(pairs, reverse=reverse)

    def _listed(self, matches: Callable[[Key], bool], *, reverse: bool = False) -> tuple[Row, ...]:
        """The rows of the matching pairs, each at its first pair."""
        return tuple(
            [self._rows[key] for key in dict.fromkeys([key for _, key in self._pairs(matches, reverse=reverse)])]
        )

    def __iter__(self) -> Iterator[Key]:
        """The index keys that have rows, in order."""
        return iter(self.keys())

    def __reversed__(self) -> Iterator[Key]:
        """The index keys that have rows, in descending order."""
        return reversed(self.keys())

    def values(self) -> tuple[Any, ...]:
        """The rows under each key, ordered by index key."""
        return tuple([self[key] for key in self.keys()])

    def items(self) -> tuple[tuple[Any, Any], ...]:
        """The pairs of index key and the rows under it."""
        return tuple([(key, self[key]) for key in self.keys()])

    def __len__(self) -> int:
        """The number of index keys that have rows."""
        return len(self.keys())

    def keys(self) -> tuple[Key, ...]:
        """The index keys that have rows, in order."""
        return tuple(dict.fromkeys([k for k, _ in self._pairs(lambda _: True)]))

    def __contains__(self, key: object) -> bool:
        """Whether any row is under this key."""
        return bool(self._listed(lambda k: bool(k == key)))

    def __getitem__(self, key: Key) -> Any:
        """The rows under this key, in primary key order."""
        return self._listed(lambda k: bool(k == key))

    def get(self, key: Key) -> Any:
        """The same as ``index[key]``."""
        return self[key]

    def prefix(self, prefix: Any, *, reverse: bool = False) -> tuple[Row, ...]:
        """The rows under a prefix of the index key, ordered by index key and then primary key, each row once."""
        return self._listed(lambda k: under(k, prefix), reverse=reverse)

    def range(
        self,
        start: Key = None,
        stop: Key = None,
        *,
        limit: int | None = None,
        reverse: bool = False,
        bounds: str = "[)",
    ) -> tuple[Row, ...]:
        """The rows of a range, in the same order or in reverse, at most ``limit``."""
        return self._listed(lambda k: in_range(k, start, stop, bounds), reverse=reverse)[:limit]


class ModelTextPrefixIndex(ModelIndex):
    """An index of prefixes of text or bytes of a model."""

    def longest(self, text: Any) -> tuple[Row, ...]:
        """The rows of the longest key that is a prefix of this text."""
        keys = [key for key in self.keys() if under(text, key)]
        return tuple(self[keys[-1]]) if keys else ()

    def covering(self, text: Any) -> tuple[Row, ...]:
        """The rows of every key that is a prefix of this text, the shortest key first, each row once."""
        return self._listed(lambda key: under(text, key))


class ModelUniqueIndex(ModelIndex):
    """A unique index of a model."""

    def get(self, key: Key, default: Any = None) -> Any:
        """The row under this key, or the default."""
        rows = self._listed(lambda k: bool(k == key))
        return rows[0] if rows else default

    def __getitem__(self, key: Key) -> Any:
        """The row under this key. Raises RowNotFound."""
        if key not in self:
            raise RowNotFound(f"no row under {key!r}")
        return self.get(key)


class ModelPrefixIndex:
    """An index of networks of a model."""

    def __init__(self, rows: dict[Key, Row], networks_of: Callable[[Row], Iterable[Network]]) -> None:
        """An index of these rows, which are scanned in each read."""
        self._rows = rows
        self._networks_of = networks_of

    def _listed(self, matches: Callable[[IPv4Network | IPv6Network], bool]) -> dict[Any, list[Key]]:
        """Matching network -> primary keys, both in order."""
        pairs = {(as_network(n), key) for key, row in self._rows.items() for n in self._networks_of(row)}
        found: dict[Any, list[Key]] = {}
        for network, key in sorted(pairs, key=lambda pair: (_order_of(pair[0]), pair[1])):
            if matches(network):
                found.setdefault(network, []).append(key)
        return found

    def _once(self, found: dict[Any, list[Key]]) -> tuple[Row, ...]:
        return tuple([self._rows[key] for key in dict.fromkeys([key for keys in found.values() for key in keys])])

    def __contains__(self, network: Network) -> bool:
        """Whether any row is under exactly this network."""
        return bool(self[network])

    def __getitem__(self, network: Network) -> tuple[Row, ...]:
        """The rows of exactly this network, in primary key order."""
        wanted = as_network(network)
        return self._once(self._listed(lambda n: n == wanted))

    def get(self, network: Network) -> tuple[Row, ...]:
        """The same as ``index[network]``."""
        return self[network]

    def keys(self) -> tuple[str, ...]:
        """The networks that have rows, as text."""
        return tuple(map(str, self._listed(lambda _: True)))

    def __iter__(self) -> Iterator[str]:
        """The networks that have rows, as text."""
        return iter(self.keys())

    def __reversed__(self) -> Iterator[str]:
        """The networks that have rows, in descending order."""
        return reversed(self.keys())

    def values(self) -> tuple[Any, ...]:
        """The rows of each network, in the order of ``keys``."""
        return tuple([self[key] for key in self.keys()])

    def items(self) -> tuple[tuple[Any, Any], ...]:
        """The pairs of a network and its rows."""
        return tuple([(key, self[key]) for key in self.keys()])

    def __len__(self) -> int:
        """The number of networks that have rows."""
        return len(self.keys())

    def longest(self, address: Network) -> tuple[Row, ...]:
        """The rows of the longest network that covers this one."""
        inner = as_network(address)
        found = self._listed(lambda n: covers(n, inner))
        return tuple([self._rows[key] for key in found[max(found, key=lambda n: n.prefixlen)]]) if found else ()

    def covering(self, network: Network) -> tuple[Row, ...]:
        """The rows of every network that covers this one, the widest first, each row once."""
        inner = as_network(network)
        found = self._listed(lambda n: covers(n, inner))
        return self._once(dict(sorted(found.items(), key=lambda item: item[0].prefixlen)))

    def within(self, network: Network) -> tuple[Row, ...]:
        """The rows of every network inside this one, parents before children, each row once."""
        outer = as_network(network)
        return self._once(self._listed(lambda n: covers(outer, n)))


def model_index(rows: dict[Key, Row], index: AnyIndex[Any, Any]) -> ModelIndex | ModelPrefixIndex:
    """The model's view of an index of a table."""
    if isinstance(index, PrefixIndex):
        return ModelPrefixIndex(rows, index.networks)
    if isinstance(index, UniqueIndex):
        return ModelUniqueIndex(rows, index.keys_of)
    if isinstance(index, TextPrefixIndex):
        return ModelTextPrefixIndex(rows, index.keys_of)
    return ModelIndex(rows, index.keys_of)
