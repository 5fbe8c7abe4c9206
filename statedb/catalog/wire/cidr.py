"""IP networks: as text, as an address with a mask, and as the key of a label.

Go's net.IPNet is written as ``{"IP":"10.244.1.0","Mask":"////AA=="}``. Newer readers, and future writers, also use the
text ``10.244.1.0/24`` (cilium/cilium pkg/node/types/prefix.go).
"""

import re
from ipaddress import ip_network

from ._errors import WireError
from .addresses import canonical, is_ipv6

_LENGTH = re.compile("0|[1-9][0-9]{0,2}")
_MAPPED_BITS = 96
"""The number of leading bits that mark an IPv6 address as a mapped IPv4 address."""


def network(text: str) -> str:
    """The canonical text of a network, with host bits cleared. Raises WireError.

    A network of mapped IPv4 addresses is an IPv4 network, as in Go.

    >>> network("10.244.1.5/24"), network("FD00::5/64"), network("::ffff:10.0.0.5/104")
    ('10.244.1.0/24', 'fd00::/64', '10.0.0.0/8')
    """
    address, _, length = text.partition("/")
    if not _LENGTH.fullmatch(length):
        raise WireError(f"{text!r} is not a network like 10.0.0.0/8 or fd00::/64")
    if ":" in address and not is_ipv6(canonical(address)):
        return _of_mapped(address, int(length))
    return _masked(canonical(address), int(length))


def from_mask(address: str, mask: bytes) -> str:
    """The network of an address and a mask of 4 or 16 bytes. Raises WireError.

    >>> from_mask("10.244.1.5", bytes([255, 255, 255, 0]))
    '10.244.1.0/24'
    """
    address = canonical(address)
    return _masked(address, mask_length(mask, address))


def mask_length(mask: bytes, address: str) -> int:
    """The number of leading ones of a mask, for a canonical address. Raises WireError."""
    size = 16 if is_ipv6(address) else 4
    if size == 4 and len(mask) == 16 and mask.startswith(b"\xff" * 12):
        mask = mask[12:]
    if len(mask) != size:
        raise WireError(f"the mask of {address} has {len(mask)} bytes, not {size}")
    bits = size * 8
    zeros = int.from_bytes(mask) ^ ((1 << bits) - 1)
    if zeros & (zeros + 1):
        raise WireError(f"the mask {mask.hex()} of {address} is not contiguous: its ones must come first")
    return bits - zeros.bit_length()


def mask_of(text: str) -> tuple[str, bytes]:
    """The address of a canonical network, and its mask."""
    address, _, length = text.partition("/")
    size = 16 if is_ipv6(address) else 4
    zeros = size * 8 - int(length)
    return address, (((1 << int(length)) - 1) << zeros).to_bytes(size)


def label_key(text: str) -> str:
    """The key of a network's label: IPv6 colons become dashes, and none is at an end (pkg/labels/cidr.go).

    >>> label_key("::1/128"), label_key("2001:db8::/32"), label_key("10.0.0.0/8")
    ('0--1/128', '2001-db8--0/32', '10.0.0.0/8')
    """
    address, _, length = network(text).partition("/")
    dashed = address.replace(":", "-")
    if dashed.startswith("-"):
        dashed = "0" + dashed
    if dashed.endswith("-"):
        dashed += "0"
    return f"{dashed}/{length}"


def from_label_key(key: str) -> str:
    """The network that the key of a label names. Raises WireError.

    >>> from_label_key("0--1/128")
    '::1/128'
    """
    return network(key.replace("-", ":"))


def _of_mapped(address: str, length: int) -> str:
    """The network of a mapped address with an IPv6 prefix length."""
    if _MAPPED_BITS <= length <= 128:
        return _masked(canonical(address), length - _MAPPED_BITS)
    return _masked(address, length)


def _masked(address: str, length: int) -> str:
    try:
        return ip_network(f"{address}/{length}", strict=False).compressed
    except ValueError:
        raise WireError(f"{address}/{length} is not a network: the prefix is too long") from None
