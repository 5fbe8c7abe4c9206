"""Who may do what: the credentials that a listener accepts, and the role of each.

There are two roles: ``read`` may see everything, ``operate`` may also accept deletes. Of HTTP it knows only the value
of a header.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from ..errors import StartError

log = logging.getLogger("statedb.agent")

Role: TypeAlias = Literal["read", "operate"]

TOKEN_LENGTH_MIN = 16
_POLL_S = 1.0
_FILE_BYTES_MAX = 1 << 20


class AccessOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The files with the tokens of each role, one token per line, and the names in client certificates that may
    operate.

    A client certificate with any other name may read. TLS decides whether certificates are requested.
    """

    read_token_file: str | None = None
    operate_token_file: str | None = None
    operators: tuple[str, ...] = ()

    @property
    def has_tokens(self) -> bool:
        """Whether tokens are configured."""
        return self.read_token_file is not None or self.operate_token_file is not None


class Access:
    """Maps credentials to their role. Files are read again within a second of a change. May be used from any thread."""

    def __init__(self, options: AccessOptions, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises StartError if a file cannot be read or has no token. ``clock`` returns monotonic seconds."""
        self._operators = frozenset(options.operators)
        files: tuple[tuple[Role, str, str | None], ...] = (
            ("operate", "operate-token-file", options.operate_token_file),
            ("read", "read-token-file", options.read_token_file),
        )
        self._files: list[tuple[Role, TokenFile]] = [
            (role, TokenFile(f"http.{name}", Path(path), clock)) for role, name, path in files if path
        ]

    def role_of(self, authorization: str | None, certificate: Collection[str] | None) -> Role | None:
        """The best role of an ``Authorization`` header and of the names in a verified client certificate.

        None if both are missing, or if the token is not valid and there is no certificate.
        """
        roles = set[Role]()
        if certificate is not None:
            roles.add("read" if self._operators.isdisjoint(certificate) else "operate")
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() == "bearer":
                roles.update([role for role, file in self._files if token.strip() in file])
        return "operate" if "operate" in roles else "read" if roles else None


class TokenFile:
    """The tokens in a file: one per line, of at least 16 characters. Empty lines and lines that start with ``#`` are
    skipped.

    A file that is missing or cannot be read has no tokens: removing it revokes them.
    """

    def __init__(self, option: str, path: Path, clock: Callable[[], float]) -> None:
        """``option`` is named in messages. Raises StartError if there is no token."""
        self._option = option
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._checked_at = clock()
        try:
            self._signature: Signature | None = _signature(path)
            self._digests = _digests(path)
        except (OSError, ValueError) as error:
            raise StartError(f"{option}: {_reason(path, error)}") from None
        if not self._digests:
            raise StartError(f"{option}: {path} has no token; write one a line, of random characters")

    def __contains__(self, token: str) -> bool:
        """Whether it is one of the tokens. Digests are compared, so that the response time reveals nothing about a
        token.
        """
        with self._lock:
            if self._clock() >= self._checked_at + _POLL_S:
                self._checked_at = self._clock()
                self._reload()
            return _digest(token) in self._digests

    def _reload(self) -> None:
        signature = _signature_or_none(self._path)
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._digests = _digests(self._path)
            log.info("%s: read again, %d tokens", self._option, len(self._digests))
        except (OSError, ValueError) as error:
            self._digests = frozenset()
            log.warning("%s: no token is valid: %s", self._option, _reason(self._path, error))


Signature: TypeAlias = tuple[int, int, int, int]
"""Values that differ after a file was replaced or written."""


def _signature(path: Path) -> Signature:
    """Raises OSError."""
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _signature_or_none(path: Path) -> Signature | None:
    try:
        return _signature(path)
    except OSError:
        return None


def signatures(paths: Collection[str]) -> tuple[Signature | None, ...]:
    """For each file, values that differ after a change; None if it is missing."""
    return tuple([_signature_or_none(Path(path)) for path in paths])


def _digests(path: Path) -> frozenset[bytes]:
    """The digests of the tokens in a file. Raises OSError, ValueError."""
    with path.open("rb") as file:
        data = file.read(_FILE_BYTES_MAX + 1)
    if len(data) > _FILE_BYTES_MAX:
        raise ValueError("is larger than 1 MiB")
    lines = [line.strip() for line in data.decode().splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    for token in tokens:
        if len(token) < TOKEN_LENGTH_MIN or not token.isascii() or " " in token:
            raise ValueError(f"has a token with less than {TOKEN_LENGTH_MIN} characters, or with non-ASCII characters")
    return frozenset(map(_digest, tokens))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _reason(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"{path} cannot be read: {error.strerror or error}"
    return f"{path} is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else f"{path} {error}"
