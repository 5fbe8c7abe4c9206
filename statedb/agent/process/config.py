"""The configuration file: the cluster, the backends and the tables they fill, the consumers, the address."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from ingest import BACKENDS, Backend, InvalidOptions, RemoteClustersOptions, discover
from ingest.backends import chosen_tables
from ingest.manifests import yaml_text
from statedb.catalog import TABLES
from statedb.catalog.wire.cluster_configs import is_cluster_name

from ..address import Address
from ..errors import ConfigError
from ..wording import suggestion
from .consumers import CONSUMER_KINDS
from .environment import expanded
from .http_section import Http, parse_http
from .logs import LogFormat
from .paths import resolved, with_resolved_paths
from .strict import Problems, field_path, to_struct

LogLevel = Literal["debug", "info", "warning", "error"]

_CLUSTER_ID_MAX = 511
_DEFAULT_CLUSTER = "default"
_FILE_BYTES_MAX = 1 << 20
_SECTIONS = ("cluster", "ingest", "remote-clusters", "consumers", "warm-start", "http", "log-level", "log-format")


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster whose state the local sources read."""

    name: str = _DEFAULT_CLUSTER
    id: int = 0


class IngestConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A backend, its options, and the names of the tables that it fills; no other backend fills them."""

    backend: str
    options: Any  # of the backend's own type
    tables: tuple[str, ...]


class ConsumerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer and its options."""

    kind: str
    options: Any  # of the kind's own type


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A valid configuration: it has passed every check that needs no access to files, servers or the network."""

    cluster: Cluster = Cluster()
    ingest: tuple[IngestConfig, ...]
    remote_clusters: RemoteClustersOptions | None = None
    consumers: tuple[ConsumerConfig, ...] = ()
    http: Http
    warm_start: Path | None = None
    """A dump to start from. It need not exist."""
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"

    @property
    def listen(self) -> Address:
        """The address of the HTTP server."""
        return self.http.listen


def load_config(path: str | Path) -> Config:
    """Read a configuration file, ``-`` for standard input. Paths in it are relative to its directory.

    Raises ConfigError.
    """
    path = Path(path)
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        return parse_config(data, path.parent)
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems]) from None


def parse_config(data: bytes | str, base: str | Path = ".") -> Config:
    """Parse the text of a configuration. Paths in it are relative to ``base``. Raises ConfigError."""
    problems = Problems()
    values: dict[str, Any] = expanded(_mapping(data), os.environ, problems)
    for name in values:
        if name not in _SECTIONS:
            problems.add(field_path("", name), f"unknown field; {suggestion(_SECTIONS, name)}")
    cluster = _cluster(values, problems)
    ingest = _ingest(values, Path(base), problems)
    remote_clusters = _remote_clusters(values, cluster, Path(base), problems)
    consumers = _consumers(values, ingest, remote_clusters is not None, Path(base), problems)
    _check_names(ingest, consumers, problems)
    http = parse_http(values.get("http", {}), Path(base), problems)
    warm_start = _warm_start(values, Path(base), problems)
    level: Any = _choice(values, "log-level", get_args(LogLevel), "info", problems)
    form: Any = _choice(values, "log-format", get_args(LogFormat), "text", problems)
    if problems or cluster is None or http is None:
        raise ConfigError(problems)
    return Config(
        cluster=cluster,
        ingest=ingest,
        remote_clusters=remote_clusters,
        consumers=consumers,
        http=http,
        warm_start=warm_start,
        log_level=level,
        log_format=form,
    )


def _mapping(data: bytes | str) -> dict[str, Any]:
    if len(data) > _FILE_BYTES_MAX:
        raise ConfigError(["is larger than 1 MiB; this is not a configuration"])
    try:
        text = data if isinstance(data, str) else data.decode()
        values = [value for document in yaml_text.split(text) for value in yaml_text.load(document, typed=True)]
    except UnicodeDecodeError:
        raise ConfigError(["is not UTF-8 text; write it as YAML"]) from None
    except yaml_text.YamlError as error:
        raise ConfigError([f"is not YAML: {error}"]) from None
    if not values:
        raise ConfigError(["is empty; 'statedb init' writes one to start from"])
    if len(values) > 1:
        raise ConfigError(["has several documents; keep one, without '---'"])
    if not isinstance(values[0], dict):
        raise ConfigError([f"must be a mapping of {', '.join(_SECTIONS)}"])
    return values[0]


def _cluster(values: dict[str, Any], problems: Problems) -> Cluster | None:
    cluster = to_struct(Cluster, values.get("cluster", {}), "cluster", problems)
    if cluster is None:
        return None
    if not is_cluster_name(cluster.name):
        problems.add(
            "cluster.name",
            "must be 1 to 32 lower-case letters, digits and dashes, no dash at either end; write it like cluster1",
        )
    if not 0 <= cluster.id <= _CLUSTER_ID_MAX:
        problems.add("cluster.id", f"must be 0 to {_CLUSTER_ID_MAX}, and differ from those of other clusters")
    elif cluster.id and cluster.name == _DEFAULT_CLUSTER:
        problems.add("cluster.name", "'default' is only for a cluster with id 0; give the cluster a name of its own")
    return cluster


def _ingest(values: dict[str, Any], base: Path, problems: Problems) -> tuple[IngestConfig, ...]:
    names = ", ".join(BACKENDS)
    if "ingest" not in values:
        problems.add("ingest", f"is missing: no table would be filled; add a backend below it, one of {names}")
        return ()
    section = values["ingest"]
    if not isinstance(section, dict):
        problems.add("ingest", f"must be a mapping with a backend, one of {names}")
        return ()
    if not section:
        problems.add("ingest", f"names no backend: no table would be filled; add one of {names}")
    found: list[IngestConfig | None] = []
    for name, options in section.items():
        path = field_path("ingest", name)
        why = "" if name in BACKENDS else discover(name)
        if name not in BACKENDS:
            problems.add(path, why or f"unknown backend; {suggestion(BACKENDS, name)}")
        else:
            found.append(_backend(BACKENDS[name], options, path, base, problems))
    claims = tuple([each for each in found if each is not None])
    _check_claims(claims, problems)
    return claims


def _backend(backend: Backend, value: Any, path: str, base: Path, problems: Problems) -> IngestConfig | None:
    before = len(problems)
    options = to_struct(backend.options, value, path, problems)
    if options is None:
        return None
    chosen = backend.chosen(options)
    if chosen_tables(options) == ():
        problems.add(f"{path}.tables", "the list is empty; name at least one, or leave the option out to fill all")
    for place, table in enumerate(chosen or ()):
        if table not in backend.tables:
            hint = suggestion(backend.tables, table)
            problems.add(f"{path}.tables[{place}]", f"{backend.name} carries no such table; {hint}")
    if "@" in (getattr(options, "server", None) or ""):
        problems.add(f"{path}.server", "an address must not contain a user; use token-file")
    _check_endpoints(options, path, problems)
    extra = _extra_tables(backend, options, path, problems)
    if len(problems) > before:
        return None
    if chosen is None:
        chosen = () if extra else backend.tables
    return IngestConfig(
        backend=backend.name,
        options=with_resolved_paths(options, base),
        tables=tuple(dict.fromkeys((*chosen, *extra))),
    )


def _extra_tables(backend: Backend, options: Any, path: str, problems: Problems) -> tuple[str, ...]:
    """The names of the tables that the options add."""
    try:
        extra = tuple([table.name for table in backend.extra(options)])
    except InvalidOptions as error:
        problems.add(path, str(error))
        return ()
    return extra


def _check_endpoints(options: Any, path: str, problems: Problems) -> None:
    for place, endpoint in enumerate(getattr(options, "endpoints", ())):
        if "@" in endpoint:  # checked first, because it may hold a password that no later message may repeat
            where = f"{path}.endpoints[{place}]"
            problems.add(where, "an address must not contain a user; use username and password-file")


def _remote_clusters(
    values: dict[str, Any], cluster: Cluster | None, base: Path, problems: Problems
) -> RemoteClustersOptions | None:
    if "remote-clusters" not in values:
        return None
    if cluster is not None and cluster.id == 0:
        problems.add("cluster.id", "is 0, but there are remote-clusters: a cluster of a mesh needs an id of its own")
    options = to_struct(RemoteClustersOptions, values["remote-clusters"], "remote-clusters", problems)
    return None if options is None else with_resolved_paths(options, base)


def _check_claims(claims: tuple[IngestConfig, ...], problems: Problems) -> None:
    """Check that no table is claimed by two backends: each table has one source of truth."""
    for place, second in enumerate(claims):
        for first in claims[:place]:
            shared = [table for table in first.tables if table in second.tables]
            if shared:
                problems.add(
                    "ingest",
                    f"backends {first.backend!r} and {second.backend!r} both claim "
                    f"{'table' if len(shared) == 1 else 'tables'} {', '.join(shared)}; "
                    "a table has one source: share them out with the option 'tables' of each",
                )


def _check_names(ingest: tuple[IngestConfig, ...], consumers: tuple[ConsumerConfig, ...], problems: Problems) -> None:
    """Check that no table added by options has the name of another table of the agent."""
    taken = {table.name: "the catalog" for table in TABLES}
    for consumer in consumers:
        kind = CONSUMER_KINDS[consumer.kind]
        added = [*kind.fills, *[table.name for table in kind.extra_tables(consumer.options)]]
        taken |= dict.fromkeys(added, f"consumer {consumer.kind!r}")
    for each in ingest:
        for table in BACKENDS[each.backend].extra(each.options):
            if table.name in taken:
                problems.add(
                    f"ingest.{each.backend}.resources",
                    f"{taken[table.name]} has a table {table.name!r} already; give it another name, as in "
                    f"{{resource: {table.name}, table: k8s-{table.name}}}",
                )


def _consumers(
    values: dict[str, Any], ingest: tuple[IngestConfig, ...], has_remotes: bool, base: Path, problems: Problems
) -> tuple[ConsumerConfig, ...]:
    """Each entry is a name, or a name with options: ``[routes, ipcache: {local-node: n1}]``."""
    wanted = values.get("consumers", [])
    if not isinstance(wanted, list):
        problems.add("consumers", f"must be a list of {', '.join(CONSUMER_KINDS)}, like [ipcache, routes]")
        return ()
    filled = None if problems else {table for each in ingest for table in each.tables}
    found: dict[str, ConsumerConfig] = {}
    for place, each in enumerate(wanted):
        path = f"consumers[{place}]"
        one = {each: {}} if isinstance(each, str) else each
        if not isinstance(one, dict) or len(one) != 1:
            problems.add(path, "must be a name, or one name with its options, like 'ipcache: {local-node: node1}'")
            continue
        ((name, value),) = one.items()
        if name not in CONSUMER_KINDS:
            problems.add(path, f"unknown consumer; {suggestion(CONSUMER_KINDS, str(name))}")
        elif name in found:
            problems.add(path, f"{name!r} is named twice; name it once")
        else:
            kind = CONSUMER_KINDS[name]
            options = to_struct(kind.options, {} if value is None else value, f"{path}.{name}", problems)
            reads = kind.needs if options is None else kind.reads(options)
            missing = [] if filled is None else [table for table in reads if table not in filled]
            if missing:
                problems.add(path, _missing_tables_message(name, missing, filled or ()))
            if kind.needs_remote_clusters and not has_remotes:
                problems.add(path, f"{name!r} is about remote clusters, and there are none; add remote-clusters")
            _check_endpoints(getattr(options, "etcd", None), f"{path}.{name}.etcd", problems)
            if options is not None:
                found[name] = ConsumerConfig(kind=name, options=with_resolved_paths(options, base))
    return tuple(found.values())


def _missing_tables_message(name: str, missing: list[str], filled: Iterable[str]) -> str:
    tables = f"table{'' if len(missing) == 1 else 's'} {', '.join(missing)}"
    carriers = [backend.name for backend in BACKENDS.values() if set(missing) <= set(backend.tables)]
    if not carriers:
        return f"{name!r} needs the {tables}, which no source fills; there are {', '.join(sorted(filled))}"
    return (
        f"{name!r} needs the {tables}, which no source fills; under 'ingest' add "
        f"{carriers[0]}: {{tables: [{', '.join(missing)}]}} (or {', '.join(carriers[1:])}), or remove the consumer"
    )


def _warm_start(values: dict[str, Any], base: Path, problems: Problems) -> Path | None:
    path = values.get("warm-start")
    if path is None:
        return None
    if not isinstance(path, str) or not path or "\0" in path:
        problems.add("warm-start", "must be the path of a file that 'statedb dump' writes")
        return None
    return Path(resolved(path, base))


def _choice(values: dict[str, Any], name: str, choices: tuple[str, ...], default: str, problems: Problems) -> str:
    value: str = values.get(name, default)
    if value not in choices:
        problems.add(name, f"must be one of {', '.join(choices)}")
    return value
