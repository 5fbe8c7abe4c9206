"""The API server of a cluster with Cilium into tables. Needs the extra ``statedb[kubernetes]`` when it is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from statedb import Database, Table

from ..errors import InvalidOptions, MissingDependency
from ..own_rows import own_rows
from ..source import Source
from .options import KubernetesOptions as KubernetesOptions
from .resource import Resource, Value

R = TypeVar("R")


def open(db: Database, cluster_name: str, cluster_id: int, options: KubernetesOptions) -> Source:  # noqa: A001
    """A source, not yet started. Raises InvalidOptions, MissingDependency."""
    return _source(db, cluster_name, cluster_id, options)


def source(
    db: Database,
    group: str,
    version: str,
    plural: str,
    decode: Callable[[bytes], Iterable[R]],
    table: type[Table[Any, R]],
    options: KubernetesOptions,
    *,
    cluster: str = "default",
) -> Source:
    """A source, not yet started, that fills a table of your own from the objects of one resource of an API server.

    ``group`` is empty for the core. ``decode`` is given an object as JSON and gives the rows, none, one or several. It
    is called by one thread, and must be pure. What it raises costs only that object: its last good rows stay, and the
    table ``rejected`` says why. ``db`` has the tables ``sources`` and ``rejected`` of the catalog beside yours. All
    promises of the backend hold: one watch, lists that may delete, outages, a CRD that is not there yet.

    Raises InvalidOptions, MissingDependency.
    """
    if not version or not plural:
        raise InvalidOptions("version and plural: name both, as in 'example.org', 'v1', 'certificates'")
    if options.tables is not None:
        raise InvalidOptions("tables: a source of your own fills the table it is given; leave the option out")

    def decoded(value: Value) -> tuple[R, ...]:
        return own_rows(table, lambda: decode(bytes(value)))

    return _source(db, cluster, 0, options, Resource(group, version, plural, (table,), decoded))


def _source(
    db: Database, cluster: str, cluster_id: int, options: KubernetesOptions, own: Resource | None = None
) -> Source:
    try:
        from .session import KubernetesSource
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"backend 'kubernetes' needs the package {error.name!r}; install 'statedb[kubernetes]'"
        ) from error
    return KubernetesSource(db, cluster, cluster_id, options, own=own)
