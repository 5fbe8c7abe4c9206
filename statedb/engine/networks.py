"""IP networks as index keys: packed bytes that sort parents before children. Knows nothing of tables.

A packed network is ``family byte + masked address bytes + prefix length byte``: bytes hash fast, compare in C,
and their order is (family, address, length), so that everything inside a network is one range. IPv4 and IPv6
are apart: ``::/0`` does not cover an IPv4 address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TypeVar

from .errors import InvalidKey

Network = str | bytes | IPv4Address | IPv6Address | IPv4Network | IPv6Network
"""What a prefix index takes: text (``10.0.0.0/8``, ``fd00::1``), 4 or 16 address bytes, or ipaddress objects."""

T = TypeVar("T")
_FAMILY = {4: b"\x04", 16: b"\x06"}


@cache
def _mask(size: int, length: int) -> int:
    """The net mask of ``length`` bits as a number, for addresses of ``size`` bytes."""
    bits = size * 8
    return ((1 << length) - 1) << (bits - length)


def _join(address: bytes, length: int) -> bytes:
    """Mask the host bits off and pack."""
    size = len(address)
    if length != size * 8:
        masked = int.from_bytes(address) & _mask(size, length)
        address = masked.to_bytes(size)
    return _FAMILY[size] + address + bytes((length,))


def _packed_text(text: str) -> bytes:
    try:
        if "/" not in text:  # an address: the way most texts take
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
    """The packed form of an address (its full-length network) or network; host bits are masked off.

    Raises InvalidKey where it is neither.

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
        raise InvalidKey(f"{str(network)!r} has a scope, which is of one host's links; give the address without it")
    if isinstance(network, (IPv4Address, IPv6Address)):
        return _join(network.packed, network.max_prefixlen)
    raise InvalidKey(f"{network!r} is not an IP address or network; give text, bytes or an ipaddress object")


def unpack(packed: bytes) -> IPv4Network | IPv6Network:
    """The network as an ipaddress object, for people.

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

    ``lengths`` may hold lengths of the other family or longer ones: they are left out. Cost: O(len(lengths)).
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
"""Prefix lengths, the longest first, each with the mask that leaves family and network of a packed one."""


def steps_of(lengths: Iterable[int], size: int) -> Steps:
    """How to try these lengths on packed networks of ``size`` bytes."""
    octets = size - 2
    family = 255 << octets * 8
    return tuple([(n, (family | _mask(octets, n)) << 8) for n in sorted(lengths, reverse=True) if n <= octets * 8])


def nearest(packed: bytes, steps: Steps, entries: Mapping[bytes, T]) -> T | None:
    """What stands under the longest network that contains this one and is wider, or None. Cost: O(steps)."""
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

    Wider networks that start at the same address lie in that range as well: keep those of at least this length.
    """
    size = len(packed) - 2
    address = int.from_bytes(packed[1:-1])
    last = address | (_mask(size, size * 8) ^ _mask(size, packed[-1]))
    return packed, packed[:1] + last.to_bytes(size) + bytes((size * 8,))
