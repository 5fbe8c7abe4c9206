"""The section ``http`` of a configuration: addresses, TLS, credentials. Knows which addresses need which of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ..address import DEFAULT_LISTEN, DEFAULT_PROBES, Address, parse_listen
from ..http.access import AccessOptions
from ..http.tls import TlsOptions
from .paths import resolved
from .strict import Problems, to_struct


class Http(msgspec.Struct, frozen=True, kw_only=True):
    """How an agent can be reached. ``access`` is None if everybody who can connect may do everything."""

    listen: Address
    tls: TlsOptions | None = None
    access: AccessOptions | None = None
    probes: Address | None = None

    @property
    def has_tokens(self) -> bool:
        """Whether a token is enough, without a client certificate."""
        return self.access is not None and self.access.has_tokens


class _Section(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    listen: str = DEFAULT_LISTEN
    probes: str | None = None
    tls: TlsOptions | None = None
    read_token_file: str | None = None
    operate_token_file: str | None = None
    operators: tuple[str, ...] = ()


def parse_http(value: Any, base: Path, problems: Problems) -> Http | None:
    """Check the section. Relative paths are resolved against ``base``. None if there are problems."""
    before = len(problems)
    section = to_struct(_Section, value, "http", problems)
    if section is None:
        return None
    listen = _address(section.listen, "http.listen", base, problems)
    probes = None if section.probes is None else _address(section.probes, "http.probes", base, problems)
    if probes is not None and probes.path:
        problems.add("http.probes", f"must be host:port, like {DEFAULT_PROBES}")
    tls = None if section.tls is None else _tls(section.tls, base)
    access = AccessOptions(
        read_token_file=_path(section.read_token_file, base),
        operate_token_file=_path(section.operate_token_file, base),
        operators=section.operators,
    )
    certificates = tls is not None and tls.client_ca_file is not None
    if listen is not None:
        _check(listen, tls, access, problems)
    if access.operators and not certificates:
        problems.add("http.operators", "are names in client certificates; add http.tls.client-ca-file")
    if listen is None or len(problems) > before:
        return None
    return Http(
        listen=msgspec.structs.replace(listen, secure=tls is not None),
        tls=tls,
        access=access if access.has_tokens or certificates else None,
        probes=probes,
    )


def _check(listen: Address, tls: TlsOptions | None, access: AccessOptions, problems: Problems) -> None:
    if listen.path and tls is not None:
        problems.add("http.tls", "is for host:port; a Unix socket needs none, as only its owner can connect")
    if listen.is_local:
        return
    if tls is None:
        problems.add(
            "http.listen",
            f"'{listen.host}:{listen.port}' can be reached from other machines, which needs http.tls and a token file "
            f"or http.tls.client-ca-file; use loopback like {DEFAULT_LISTEN}, or unix:/path",
        )
    elif not access.has_tokens and tls.client_ca_file is None:
        problems.add(
            "http.listen",
            f"'{listen.host}:{listen.port}' can be reached from other machines, and nobody needs credentials; "
            "add read-token-file, operate-token-file or tls.client-ca-file",
        )


def _address(text: str, option: str, base: Path, problems: Problems) -> Address | None:
    if text.startswith("unix:") and text != "unix:" and not text.startswith("unix:/"):
        text = f"unix:{resolved(text.removeprefix('unix:'), base)}"
    try:
        return parse_listen(text)
    except ValueError as error:
        problems.add(option, str(error))
        return None


def _tls(options: TlsOptions, base: Path) -> TlsOptions:
    return TlsOptions(**{name: _path(getattr(options, name), base) for name in options.__struct_fields__})


def _path(path: str | None, base: Path) -> Any:
    return None if path is None else resolved(path, base)
