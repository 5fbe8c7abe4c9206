"""Addresses of an agent: TCP, or a Unix socket."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

DEFAULT_LISTEN = "127.0.0.1:9974"
DEFAULT_PROBES = "0.0.0.0:9975"
_PORT = re.compile(r"[0-9]{1,5}")
_SOCKET_PATH_MAX = 100  # the kernel's limit is 107 bytes


class Address(msgspec.Struct, frozen=True):
    """A Unix socket if ``path`` is set, otherwise a host and a port; 0 means any free port. ``secure``: with TLS."""

    host: str = ""
    port: int = 0
    path: str = ""
    secure: bool = False

    def __str__(self) -> str:
        """In the form for clients: ``http://127.0.0.1:9974`` or ``unix:/run/statedb.sock``."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can reach it."""
        return bool(self.path) or is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host is certainly this machine: ``localhost``, or an address in a loopback network."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def parse_listen(text: str) -> Address:
    """The value of ``http.listen``: ``host:port``, ``[::1]:port`` or ``unix:/path``. Raises ValueError.

    The caller decides whether an address that other machines can reach is allowed: `Address.is_local`.
    """
    if text.startswith("unix:"):
        return _socket(text)
    if "@" in text:  # it may contain a password
        raise ValueError(f"an address must not contain a user; write host:port like {DEFAULT_LISTEN}, or unix:/path")
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not host or not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address; write host:port like {DEFAULT_LISTEN}, or unix:/path")
    return Address(host, int(port))


def parse_server(text: str) -> Address:
    """``http://host:port``, ``https://...``, ``host:port`` or ``unix:/path``. Raises ValueError with the remedy."""
    if text.startswith("unix:"):
        return _socket(text)
    wrong = ValueError(f"{text!r} is not a server; write http://{DEFAULT_LISTEN}, https://host:port or unix:/path")
    try:
        parts = urlsplit(text if "//" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or parts.path.strip("/") or parts.query:
        raise ValueError("the server's address must not contain a user") if "@" in parts.netloc else wrong
    return Address(host, 9974 if port is None else port, secure=parts.scheme == "https")


def _socket(text: str) -> Address:
    path = text.removeprefix("unix:")
    path = path.removeprefix("//") if path.startswith("///") else path
    if not path or "\0" in path or path.endswith("/"):
        raise ValueError(f"{text!r} names no socket; write unix:/path/of/the.sock")
    if len(path.encode()) > _SOCKET_PATH_MAX:
        raise ValueError(f"the path of the socket is longer than {_SOCKET_PATH_MAX} bytes; use a shorter one")
    return Address(path=path)
