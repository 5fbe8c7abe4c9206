"""The address of an etcd server, and the gRPC channel to it."""

from __future__ import annotations

from ipaddress import IPv6Address
from urllib.parse import urlsplit

import grpc
import msgspec

_MESSAGE_BYTES_MAX = 64 << 20  # a value is at most some MB, but operators may raise that


class Endpoint(msgspec.Struct, frozen=True):
    """One server. ``address`` replaces the resolution of ``host``; certificates are still checked against ``host``.

    ``address_port`` is the port at that address, if it differs from ``port``.
    """

    host: str
    port: int
    secure: bool
    address: str = ""
    address_port: int = 0

    def __str__(self) -> str:
        """The address as it is written in a configuration."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"


class Tls(msgspec.Struct, frozen=True):
    """PEM texts: the authority of servers (None: those of the system), and the client certificate with its key.

    Raises ValueError for what gRPC would misread: it aborts the process when one text of the pair is missing or empty
    (`Check failed: private_key != nullptr`), and empty authorities mean those of the system to it.
    """

    authorities: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None

    def __post_init__(self) -> None:
        """Raises ValueError; the texts are not repeated."""
        if b"" in (self.authorities, self.certificate, self.key):
            raise ValueError("a PEM text is empty")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a certificate and its key belong together: give both or none")


class Keepalive(msgspec.Struct, frozen=True):
    """How dead connections are found: a ping every ``every_s`` seconds, to be answered within ``timeout_s`` seconds."""

    every_s: float = 10.0
    timeout_s: float = 3.0


def parse_endpoint(text: str) -> Endpoint:
    """An endpoint from ``http://host:port`` or ``https://host:port``. Raises ValueError; secrets are not repeated."""
    if "@" in text:
        raise ValueError("an address must not contain a user; use username and password-file")
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is not an address like http://127.0.0.1:2379 or https://etcd.example:2379")
    return Endpoint(host, 2379 if port is None else port, parts.scheme == "https")


def open_channel(endpoint: Endpoint, tls: Tls, keepalive: Keepalive) -> grpc.Channel:
    """A channel, not yet connected. With texts that are not valid PEM it never connects, and gRPC says no more."""
    target = _target(endpoint)
    options: list[tuple[str, int | str]] = [*_options(keepalive)]
    if endpoint.address:
        options.append(("grpc.default_authority", f"{endpoint.host}:{endpoint.port}"))
        if endpoint.secure:
            options.append(("grpc.ssl_target_name_override", endpoint.host))
    if not endpoint.secure:
        return grpc.insecure_channel(target, options)
    credentials = grpc.ssl_channel_credentials(tls.authorities, tls.key, tls.certificate)
    return grpc.secure_channel(target, credentials, options)


def _target(endpoint: Endpoint) -> str:
    host, port = endpoint.address or endpoint.host, endpoint.address_port or endpoint.port
    if ":" in host:
        return f"ipv6:[{IPv6Address(host)}]:{port}"
    if endpoint.address:
        return f"ipv4:{host}:{port}"
    return f"dns:///{endpoint.host}:{endpoint.port}"


def _options(keepalive: Keepalive) -> list[tuple[str, int]]:
    """Channel arguments; without the ping timeout, a frozen server is found six times as late (grpcio 1.85)."""
    timeout_ms = int(keepalive.timeout_s * 1000)
    return [
        ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
        ("grpc.keepalive_time_ms", int(keepalive.every_s * 1000)),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        ("grpc.http2.ping_timeout_ms", timeout_ms),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),  # the default grows to minutes and outlives the outage
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.min_reconnect_backoff_ms", 5000),  # in spite of its name: how long one attempt to connect may take
        ("grpc.use_local_subchannel_pool", 1),  # a new client means a new connection
        ("grpc.enable_retries", 0),
    ]
