"""A kind of your own: certificates, one JSON object per key of an etcd, as a table with indexes."""

from __future__ import annotations

import msgspec

from statedb import Index, Table, UniqueIndex

PREFIX = "example.org/certificates/"
"""Below it, NAMESPACE/NAME."""


class Certificate(msgspec.Struct, frozen=True, gc=False):
    """A certificate, and until when it holds."""

    name: str
    """NAMESPACE/NAME"""
    issuer: str
    not_after: str
    hosts: tuple[str, ...] = ()


class Certificates(Table[str, Certificate], name="certificates"):
    """Certificates by name; by the hosts that they are for, and in the order in which they end."""

    primary = UniqueIndex[str, Certificate](lambda certificate: certificate.name)
    by_host = Index[str, Certificate](lambda certificate: certificate.hosts)
    by_end = Index[str, Certificate](lambda certificate: (certificate.not_after,))


class Value(msgspec.Struct, frozen=True):
    """What stands in etcd."""

    issuer: str
    not_after: str = msgspec.field(name="notAfter")
    hosts: tuple[str, ...] = ()


_read = msgspec.json.Decoder(Value).decode


def decode(name: str, value: bytes) -> tuple[Certificate, ...]:
    """The row of a key; what does not fit `Value` is told in the table ``rejected``."""
    read = _read(value)
    return (Certificate(name, read.issuer, read.not_after, read.hosts),)
