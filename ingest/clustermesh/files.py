"""The etcd configuration of one remote cluster, as Cilium writes it for its agents. Pure: text in, servers out.

    endpoints: [https://cluster2.mesh.cilium.io:32379]
    trusted-ca-file: /var/lib/cilium/clustermesh/common-etcd-client-ca.crt
    cert-file: /var/lib/cilium/clustermesh/common-etcd-client.crt
    key-file: /var/lib/cilium/clustermesh/common-etcd-client.key
    cilium-host-aliases: [{hostname: cluster2.mesh.cilium.io, ips: [172.18.255.201]}]

Other fields of etcd's client configuration are ignored, as by Cilium.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from statedb.catalog.wire import WireError
from statedb.catalog.wire.addresses import canonical

from ..etcd import Endpoint, Keepalive, parse_endpoint
from ..keyspace.connect import PemFiles, Servers, UserPassword
from ..keyspace.resolving import aliased, resolver_of
from ..manifests import yaml_text
from .options import RemoteClustersOptions


class BadFile(ValueError):
    """The file is not a valid etcd configuration. The message names the field and the remedy, and has no secrets."""


class _Alias(msgspec.Struct):
    hostname: str = ""
    ips: list[str] = []


class _File(msgspec.Struct, kw_only=True, rename="kebab"):
    endpoints: list[str]
    trusted_ca_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password: str = ""
    insecure_transport: bool = False
    insecure_skip_tls_verify: bool = False
    cilium_host_aliases: list[_Alias] | None = None


def is_config(data: bytes) -> bool:
    """Whether a file in the directory describes a cluster; there may be certificates beside it."""
    return b"endpoints:" in data


def servers(data: bytes, directory: str, options: RemoteClustersOptions) -> Servers:
    """The servers in a file. Relative paths in the file start at ``directory``. Raises BadFile."""
    file = _read(data)
    if file.insecure_skip_tls_verify:
        raise BadFile("insecure-skip-tls-verify is not supported: give trusted-ca-file")
    if file.ca_file:
        raise BadFile("ca-file is not read any more: call it trusted-ca-file")
    if bool(file.username) != bool(file.password):
        raise BadFile("username and password belong together: give both or none")
    aliases = _aliases(file.cilium_host_aliases or [])
    if not file.endpoints:
        raise BadFile("endpoints: the list is empty; name at least one")
    pems = PemFiles(
        _path(directory, file.trusted_ca_file),
        _path(directory, file.cert_file),
        _path(directory, file.key_file),
        names=("trusted-ca-file", "cert-file", "key-file"),
    )
    return Servers(
        endpoints=tuple(
            each for place, text in enumerate(file.endpoints) for each in _endpoints(place, text, file, aliases)
        ),
        pems=pems if file.trusted_ca_file or file.cert_file or file.key_file else None,
        login=UserPassword(file.username, file.password) if file.username else None,
        timeout_s=options.request_timeout_s,
        keepalive=Keepalive(options.keepalive_s, options.keepalive_timeout_s),
        locked=True,
        resolver=resolver_of(options.service_resolver),
    )


def _path(directory: str, path: str) -> str | None:
    return str(Path(directory) / path) if path else None


def _read(data: bytes) -> _File:
    try:
        values = [value for document in yaml_text.split(data.decode()) for value in yaml_text.load(document)]
    except UnicodeDecodeError:
        raise BadFile("is not UTF-8 text") from None
    except yaml_text.YamlError as error:
        raise BadFile(f"is not YAML: {error}") from None
    if len(values) != 1 or not isinstance(values[0], dict):
        raise BadFile("is not one mapping with endpoints")
    try:
        return msgspec.convert(values[0], _File, strict=False)
    except msgspec.ValidationError as error:
        raise BadFile(str(error).replace("$.", "").replace("`", "")) from None


def _aliases(aliases: list[_Alias]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for place, alias in enumerate(aliases):
        where = f"cilium-host-aliases[{place}]"
        if not alias.hostname:
            raise BadFile(f"{where}.hostname: is empty")
        if not alias.ips:
            raise BadFile(f"{where}.ips: the list is empty; name at least one")
        name = alias.hostname.lower()
        if name in found:
            raise BadFile(f"{where}.hostname: {alias.hostname} is there twice")
        try:
            found[name] = [canonical(ip) for ip in alias.ips]
        except WireError as error:
            raise BadFile(f"{where}.ips: {error}") from None
    return found


def _endpoints(place: int, text: str, file: _File, aliases: Mapping[str, list[str]]) -> list[Endpoint]:
    """An endpoint with each known address of its name."""
    if "://" not in text:
        text = f"{'http' if file.insecure_transport else 'https'}://{text}"
    try:
        endpoint = parse_endpoint(text)
    except ValueError as error:
        raise BadFile(f"endpoints[{place}]: {error}") from None
    if file.insecure_transport and endpoint.secure:
        raise BadFile(f"endpoints[{place}]: {endpoint} is https, but insecure-transport is true")
    return aliased(endpoint, aliases)
