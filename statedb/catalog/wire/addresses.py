"""IP addresses in one canonical text form, that of Go: lower-case, shortest IPv6 (RFC 5952), mapped IPv4 as IPv4."""

from collections.abc import Iterable
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from ._errors import WireError

_MAPPED = bytes(10) + b"\xff\xff"


def canonical(text: str) -> str:
    """The canonical form of an address. Raises WireError, also for zones (``fe80::1%eth0``) and leading zeros.

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
    # Some C libraries format ::102:304 as ::1.2.3.4.
    return IPv6Address(packed).compressed if "." in shown else shown


def is_canonical(text: str) -> bool:
    """Whether a text is an address in canonical form. Never raises."""
    try:
        return canonical(text) == text
    except WireError:
        return False


def canonical_or_empty(text: str, field: str) -> str:
    """The canonical form, or the empty text for an absent address. Raises WireError, which names the field."""
    if not text:
        return ""
    try:
        return canonical(text)
    except WireError as error:
        raise WireError(f"{field}: {error}") from None


def is_ipv6(text: str) -> bool:
    """Whether a canonical address or network is IPv6."""
    return ":" in text


def by_family(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Canonical IPv4 addresses or networks, and IPv6 ones, each in the given order."""
    ipv4: list[str] = []
    ipv6: list[str] = []
    for text in texts:
        (ipv6 if is_ipv6(text) else ipv4).append(text)
    return ipv4, ipv6


def ipv4_first(texts: Iterable[str]) -> tuple[str, ...]:
    """Canonical addresses or networks, IPv4 before IPv6."""
    ipv4, ipv6 = by_family(texts)
    return (*ipv4, *ipv6)
