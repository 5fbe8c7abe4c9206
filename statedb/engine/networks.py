"""IP networks as index keys: packed bytes that sort parents before children. Knows nothing of tables.

A packed network is ``family byte + masked address bytes + prefix length byte``. Bytes hash fast and compare in C. Their
order is (family, address, length), so everything inside a network is one range. IPv4 and IPv6 are separate: ``::/0``
does not cover an IPv4 address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TypeVar

from .errors import InvalidKey

Network = str | bytes | IPv4Address | IPv6Address | IPv4Network | IPv6Network
"""What a prefix index accepts: text (``10.0.0.0/8``, ``fd00::1``), 4 or 16 address bytes, or ipaddress objects."""

T = TypeVar("T")
_FAMILY = {4: b"\x04", 16: b"\x06"}


@cache
def _mask(size: int, length: int) -> int:
    """The net mask of ``length`` bits as a number, for addresses of ``size`` bytes."""
    bits = size * 8
    return ((1 << length) - 1) << (bits - length)


def _join(address: bytes, length: int) -> bytes:
    """Clear the host bits and pack."""
    size = len(address)
    if length != size * 8:
        masked = int.from_bytes(address) & _mask(size, length)
        address = masked.to_bytes(size)
    return _FAMILY[size] + address + bytes((length,))


def _packed_text(text: str) -> bytes:
    try:
        if "/" not in text:  # an address, the most frequent case
            return (
                b"\x06" + inet_pton(AF_INET6, text) + b"\x80"
                if ":" in text
                else b"\x04" + inet_pton(AF_INET, text) + b" "
            )
        address, _, length = text.partition("/")
        packed = inet_pton(AF_INET6 if ":" in address else AF_INET, address)
        if not (length.isascii() and length.isdigit()) or int(length) > len(packed) * 8:
            raise ValueError(text)
    except (OSError, ValueError):
        raise InvalidKey(
            f"{text!r} is not an IP address or network; give it as 10.0.0.0/8, 10.1.2.3, fd00::/64 or fd00::1"
        ) from None
    return _join(packed, int(length))


def pack(network: Network) -> bytes:
    """The packed form of a network, or of an address as a network of full length. Host bits are cleared.

    Raises InvalidKey for anything else.

    >>> pack("10.1.2.3/8") == pack("10.0.0.0/8")
    True
    """
    if isinstance(network, str):
        return _packed_text(network)
    if isinstance(network, bytes):
        if len(network) == 4:
            return b"\x04" + network + b" "
        if len(network) == 16:
            return b"\x06" + network + b"\x80"
        raise InvalidKey(f"{network!r} has {len(network)} bytes; a packed address has 4 or 16")
    if isinstance(network, (IPv4Network, IPv6Network)):
        return _join(network.network_address.packed, network.prefixlen)
    if isinstance(network, (IPv4Interface, IPv6Interface)):  # addresses by inheritance, networks by their text
        return pack(network.network)
    if isinstance(network, IPv6Address) and network.scope_id is not None:
        raise InvalidKey(f"{str(network)!r} has a scope ID, which is local to one host; give the address without it")
    if isinstance(network, (IPv4Address, IPv6Address)):
        return _join(network.packed, network.max_prefixlen)
    raise InvalidKey(f"{network!r} is not an IP address or network; give text, bytes or an ipaddress object")


def unpack(packed: bytes) -> IPv4Network | IPv6Network:
    """The network as an ipaddress object.

    >>> unpack(pack("10.1.2.3/8"))
    IPv4Network('10.0.0.0/8')
    """
    address = packed[1:-1]
    text = inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)
    return ip_network(f"{text}/{packed[-1]}")


def length_of(packed: bytes) -> int:
    """The prefix length of a packed network."""
    return packed[-1]


def covering(packed: bytes, lengths: list[int]) -> list[bytes]:
    """The packed networks of the given prefix lengths that contain this one, the widest first.

    ``lengths`` may include longer ones and those of the other family, which are ignored. Cost: O(len(lengths)).
    """
    size = len(packed) - 2
    longest = packed[-1]
    family = packed[:1]
    address = int.from_bytes(packed[1:-1])
    return [
        family + (address & _mask(size, length)).to_bytes(size) + bytes((length,))
        for length in sorted(lengths)
        if length <= longest
    ]


Steps = tuple[tuple[int, int], ...]
"""Prefix lengths in descending order, each with the mask that keeps the family and network bits of a packed network."""


def steps_of(lengths: Iterable[int], size: int) -> Steps:
    """The lookups to try for these lengths, for packed networks of ``size`` bytes."""
    octets = size - 2
    family = 255 << octets * 8
    return tuple([(n, (family | _mask(octets, n)) << 8) for n in sorted(lengths, reverse=True) if n <= octets * 8])


def nearest(packed: bytes, steps: Steps, entries: Mapping[bytes, T]) -> T | None:
    """The entry of the longest network that contains this one and is wider, or None. Cost: O(steps)."""
    size, longest = len(packed), packed[-1]
    number = int.from_bytes(packed)
    for length, mask in steps:
        if length < longest:
            entry = entries.get(((number & mask) | length).to_bytes(size))
            if entry is not None:
                return entry
    return None


def span(packed: bytes) -> tuple[bytes, bytes]:
    """The first and last packed key of the range that holds everything within this network, both inclusive.

    The range also has wider networks with the same first address: filter by prefix length.
    """
    size = len(packed) - 2
    address = int.from_bytes(packed[1:-1])
    last = address | (_mask(size, size * 8) ^ _mask(size, packed[-1]))
    return packed, packed[:1] + last.to_bytes(size) + bytes((size * 8,))
