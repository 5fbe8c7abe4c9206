"""The certificate files that a configuration names itself: those of the HTTP server and of consumers.

Sources report their own files, because those of remote clusters are configured elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .config import Config

_FIELDS = ("cert_file", "ca_file", "client_ca_file")


def certificate_files(config: Config) -> dict[tuple[str, str], str]:
    """The user of a file and the option that names it -> its path."""
    found = {("http", option): path for option, path in _files(config.http.tls, "tls")}
    for each in config.consumers:
        found |= {(each.kind, option): path for option, path in _files(each.options, "")}
    return found


def _files(options: object, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(options, msgspec.Struct):
        return
    for field in msgspec.structs.fields(options):
        value = getattr(options, field.name)
        option = f"{where}.{field.encode_name}" if where else field.encode_name
        if field.name in _FIELDS and isinstance(value, str):
            yield option, value
        yield from _files(value, option)
