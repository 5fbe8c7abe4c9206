"""Files in PEM: loaded into TLS contexts with errors that name them, and how long their certificates are valid."""

from __future__ import annotations

import base64
import binascii
import os
import re
import ssl
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import msgspec

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _UTC_TIME = 0xA0, 0x17
_FILE_BYTES_MAX = 1 << 20
_CENTURY_BEGINS = 50  # two digits of a year: from here on 19xx (RFC 5280, 4.1.2.5.1)


class InvalidPem(ValueError):
    """A file is not in order; the message names it and says why."""


class Validity(msgspec.Struct, frozen=True, order=True):
    """From when to when a certificate is valid, in Unix seconds. Ordered by the end."""

    not_after: float
    not_before: float


def check_readable(*paths: str | None) -> None:
    """Raises InvalidPem for the first that is not: what `ssl` raises does not name the file."""
    for path in paths:
        if path is not None:
            try:
                Path(path).open("rb").close()
            except OSError as error:
                raise InvalidPem(f"{path} cannot be read: {error.strerror or error}") from None


def load_chain(context: ssl.SSLContext, cert_file: str, key_file: str | None) -> None:
    """Load a certificate with its chain, and its key. Raises InvalidPem."""
    check_readable(cert_file, key_file)
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise InvalidPem(_reason(error)) from None


def load_authority(context: ssl.SSLContext, ca_file: str) -> None:
    """Trust who stands in this file. Raises InvalidPem."""
    check_readable(ca_file)
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ValueError) as error:
        raise InvalidPem(_reason(error)) from None


def validity(data: bytes) -> Validity | None:
    """Of the certificate in PEM that ends first: a chain is no longer valid than each of it. None where there is none.

    >>> validity(b"no certificate") is None
    True
    """
    return min(filter(None, map(_validity, _CERTIFICATE.findall(data))), default=None)


def validity_in(path: str) -> Validity | None:
    """The same of a file, which is read again when it has changed; None where it cannot be read."""
    try:
        found = os.stat(path)
        return _validity_of(path, (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size))
    except OSError:
        return None


@lru_cache(maxsize=1024)
def _validity_of(path: str, _: tuple[int, ...]) -> Validity | None:
    """Raises OSError."""
    with open(path, "rb") as file:
        return validity(file.read(_FILE_BYTES_MAX))


def _validity(encoded: bytes) -> Validity | None:
    """RFC 5280, 4.1: of the certificate's first part, what follows version, serial, algorithm and issuer."""
    try:
        (_, certificate), *_ = _elements(base64.b64decode(encoded))
        (_, signed), *_ = _elements(certificate)
        fields = [content for tag, content in _elements(signed) if tag != _VERSION]
        not_before, not_after = [_seconds(tag, content) for tag, content in _elements(fields[3])]
        return Validity(not_after, not_before)
    except (binascii.Error, ValueError, IndexError):
        return None


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each element that stands in DER. Raises ValueError, IndexError."""
    found, place = list[tuple[int, bytes]](), 0
    while place < len(data):
        tag, length = data[place], data[place + 1]
        place += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[place : place + size])
            place += size
        found.append((tag, data[place : place + length]))
        place += length
    return found


def _seconds(tag: int, content: bytes) -> float:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = f"{19 if int(text[:2]) >= _CENTURY_BEGINS else 20}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _no_password() -> str:
    raise ValueError("the key must not need a password")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key is not that of the certificate"
        return "these are no certificates or keys in PEM"
    return str(error)
