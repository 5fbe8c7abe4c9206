"""IP addresses as text in one canonical form, Go's: lower-case, shortest IPv6 (RFC 5952), mapped IPv4 as IPv4."""

from collections.abc import Iterable
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from ._errors import WireError

_MAPPED = bytes(10) + b"\xff\xff"


def canonical(text: str) -> str:
    """The one form of an address. Raises WireError; zones (``fe80::1%eth0``) and leading zeros are refused.

    >>> canonical("FD00:0::01"), canonical("::ffff:10.0.0.1"), canonical("10.0.0.1")
    ('fd00::1', '10.0.0.1', '10.0.0.1')
    """
    try:
        if ":" not in text:
            inet_pton(AF_INET, text)
            return text
        packed = inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        raise WireError(f"{text!r} is not an IP address") from None
    if packed.startswith(_MAPPED):
        return inet_ntop(AF_INET, packed[12:])
    shown = inet_ntop(AF_INET6, packed)
    # Some C libraries show ::102:304 as ::1.2.3.4, which nobody else does.
    return IPv6Address(packed).compressed if "." in shown else shown


def is_canonical(text: str) -> bool:
    """Whether a text is the one form of an address. Total."""
    try:
        return canonical(text) == text
    except WireError:
        return False


def canonical_or_empty(text: str, field: str) -> str:
    """The same where the address may be absent (empty). Raises WireError naming the field."""
    if not text:
        return ""
    try:
        return canonical(text)
    except WireError as error:
        raise WireError(f"{field}: {error}") from None


def is_ipv6(text: str) -> bool:
    """Whether a canonical address or network is of IPv6."""
    return ":" in text


def by_family(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Canonical addresses or networks of IPv4, and those of IPv6, each in the order given."""
    ipv4: list[str] = []
    ipv6: list[str] = []
    for text in texts:
        (ipv6 if is_ipv6(text) else ipv4).append(text)
    return ipv4, ipv6


def ipv4_first(texts: Iterable[str]) -> tuple[str, ...]:
    """Canonical addresses or networks, those of IPv4 before those of IPv6."""
    ipv4, ipv6 = by_family(texts)
    return (*ipv4, *ipv6)
