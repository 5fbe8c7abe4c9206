"""PEM files: loads them into TLS contexts with errors that name them, and reads the validity of their certificates."""

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
_CENTURY_BEGINS = 50  # two-digit years from here on are 19xx (RFC 5280, 4.1.2.5.1)


class InvalidPem(ValueError):
    """A file is bad. The message names it and the reason."""


class Validity(msgspec.Struct, frozen=True, order=True):
    """The period of validity of a certificate, in Unix seconds. Ordered by its end."""

    not_after: float
    not_before: float


def check_readable(*paths: str | None) -> None:
    """Raise InvalidPem for the first unreadable file: the exceptions of `ssl` do not name the file."""
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
    """Trust the authorities in this file. Raises InvalidPem."""
    check_readable(ca_file)
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ValueError) as error:
        raise InvalidPem(_reason(error)) from None


def validity(data: bytes) -> Validity | None:
    """The validity of the certificate that expires first, for a chain in PEM. None if there is none.

    >>> validity(b"no certificate") is None
    True
    """
    return min(filter(None, map(_validity, _CERTIFICATE.findall(data))), default=None)


def validity_in(path: str) -> Validity | None:
    """The same for a file, which is read again after a change. None if it cannot be read."""
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
    """RFC 5280, 4.1: in the first part of the certificate, the field after version, serial, algorithm and issuer."""
    try:
        (_, certificate), *_ = _elements(base64.b64decode(encoded))
        (_, signed), *_ = _elements(certificate)
        fields = [content for tag, content in _elements(signed) if tag != _VERSION]
        not_before, not_after = [_seconds(tag, content) for tag, content in _elements(fields[3])]
        return Validity(not_after, not_before)
    except (binascii.Error, ValueError, IndexError):
        return None


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """The tag and content of each DER element. Raises ValueError, IndexError."""
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
            return "the key does not match the certificate"
        return "no certificate or key in PEM format"
    return str(error)
