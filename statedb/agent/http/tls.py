"""TLS of a listener: its certificate and the authority of client certificates, from files that may change."""

from __future__ import annotations

import ssl
from collections.abc import Collection
from typing import Any

import msgspec

from ..errors import StartError
from ..pem import InvalidPem, load_authority, load_chain
from .access import signatures


class TlsOptions(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """PEM files: the server's certificate with its chain, its key, and the authority of client certificates."""

    cert_file: str
    key_file: str
    client_ca_file: str | None = None


class TlsFiles:
    """Creates contexts from the files. For one thread."""

    def __init__(self, options: TlsOptions, *, certificate_required: bool) -> None:
        """``certificate_required``: clients must present a certificate. Raises StartError for a bad file."""
        self._options = options
        self._required = certificate_required
        self._paths = [path for path in msgspec.structs.astuple(options) if path is not None]
        self._seen = signatures(self._paths)
        self.context = self._loaded()

    def changed(self) -> bool:
        """Whether a file has changed. If so, ``context`` is replaced. Raises StartError, once for each change.

        If a file is bad, as in the middle of a replacement, the previous context stays.
        """
        seen = signatures(self._paths)
        if seen == self._seen:
            return False
        self._seen = seen  # before reading the files, so that a change in between is seen the next time
        self.context = self._loaded()
        return True

    def _loaded(self) -> ssl.SSLContext:
        options = self._options
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        option = "cert-file, key-file"
        try:
            load_chain(context, options.cert_file, options.key_file)
            if options.client_ca_file is not None:
                option = "client-ca-file"
                load_authority(context, options.client_ca_file)
                context.verify_mode = ssl.CERT_REQUIRED if self._required else ssl.CERT_OPTIONAL
        except InvalidPem as error:
            raise StartError(f"http.tls: {option}: {error}") from None
        return context


def names_in(certificate: Any) -> Collection[str] | None:
    """The common name and the DNS names of a verified certificate, as returned by `ssl`; None without a certificate."""
    if not certificate:
        return None
    common = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
    return (*common, *[value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"])
