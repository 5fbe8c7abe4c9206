"""Certificates of tests: a real authority, with servers and clients."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import trustme

LONG_AGO = datetime(2020, 1, 2, tzinfo=UTC)


class Authority:
    """Issues certificates, and makes the contexts of clients that trust it."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self._directory = directory
        self.file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, *, until: datetime | None = None, since: datetime | None = None) -> tuple[Path, Path]:
        """Write a certificate for this name and 127.0.0.1, and its key, over those of the same name."""
        found = self._ca.issue_cert("127.0.0.1", common_name=name, not_after=until, not_before=since)
        cert, key = self._directory / f"{name}.pem", self._directory / f"{name}-key.pem"
        cert.write_bytes(b"".join(blob.bytes() for blob in found.cert_chain_pems))
        key.write_bytes(found.private_key_pem.bytes())
        return cert, key

    def client(self, name: str = "", *, until: datetime | None = None) -> ssl.SSLContext:
        """A context that trusts the authority, with a certificate of this name if one is given."""
        context = ssl.create_default_context(cafile=str(self.file))
        if name:
            context.load_cert_chain(*self.issue(name, until=until))
        return context
