"""Any resource of an API server as a table, and all tables of a cluster that runs Cilium.

Opening a source needs the extra ``statedb[kubernetes]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from statedb import Database, InvalidTable, Table
from statedb.catalog import Rejected, Sources
from statedb.catalog.wire.kinds import reader

from ..errors import InvalidOptions, MissingDependency
from ..own_rows import own_rows
from ..source import AnyTable, Source
from .election import Election as Election
from .errors import Unauthorized
from .options import ApiServerOptions, KubernetesOptions as KubernetesOptions
from .own_writes import owners_of as owners_of, seen as seen, wait_seen as wait_seen
from .resource_spec import Resource, Value
from .selection import (
    Named,
    Only,
    ResourceOptions as ResourceOptions,
    kind_of,
    tables_of,
    with_decoder,
    without_decoder,
)

if TYPE_CHECKING:  # it needs the extra
    from .writing import Writer

R = TypeVar("R")

_KUBECTL = KubernetesOptions()
"""The server and the user of kubectl."""


def open(db: Database, cluster_name: str, cluster_id: int, options: KubernetesOptions) -> Source:  # noqa: A001
    """A source, not yet started. Raises InvalidOptions, MissingDependency."""
    own = _own(db, options.resources, cluster_name)
    return _source(db, cluster_name, cluster_id, options, own)


def resource(
    db: Database,
    name: str,
    table: type[Table[Any, R]],
    decode: Callable[[bytes], Iterable[R]] | None = None,
    options: KubernetesOptions = _KUBECTL,
    *,
    namespaces: Iterable[str] | None = None,
    labels: str = "",
    fields: str = "",
    only: Only | None = None,
    cluster: str = "default",
    owns: Callable[[R], bool] | None = None,
) -> Source:
    """A source, not yet started, that fills a table of your own from one resource, found by its name as by kubectl.

    ``name`` is a plural, singular, short name or kind, perhaps with a group, or with version and group: ``pods``,
    ``deploy.apps``, ``widgets.v1.example.org``. If the resource is not served yet, the source waits for it. With
    ``namespaces`` only these are read, and rights for them suffice; the default is all namespaces. ``labels`` and
    ``fields`` are selectors. With ``only="metadata"`` the server sends only metadata.

    ``decode`` gets an object as JSON and returns its rows: none, one or several. It is called by several threads, for
    each namespace by one at a time. It must be pure and may not wait, because the whole source would wait for it; then
    ``sources`` names the object after ten seconds. An
    exception affects only its object: the last good rows of the object stay, and the table ``rejected`` has the
    reason. All guarantees of the backend hold: when a list deletes, what an outage does, a true state in ``sources``. A
    table of `statedb.catalog.kinds` needs no ``decode``.

    Several sources may fill one table, each with a ``cluster`` of its own. Then ``owns`` tells which rows belong to
    this source, unless the type of the table's keys begins with a field ``cluster``. ``table``, ``sources`` and
    ``rejected`` are added to ``db`` if it lacks them. Raises InvalidOptions, MissingDependency.
    """
    if isinstance(namespaces, str):
        raise InvalidOptions(f"namespaces: {namespaces!r} is a text; give a list, as in namespaces=[{namespaces!r}]")
    listed = None if namespaces is None else tuple(namespaces)
    if not name or listed == () or "" in (listed or ()):
        raise InvalidOptions("name a resource, and at least one namespace or none at all")
    chosen = ResourceOptions(resource=name, namespaces=listed, labels=labels, fields=fields, only=only)
    chosen_decode = decode or reader(kind_of(table).table.row_type, cluster)
    _register(db, table)
    return _source(db, cluster, 0, _without_tables(options), with_decoder(chosen, table, chosen_decode, owns), owns)


def resources(db: Database, *named: Named, options: KubernetesOptions = _KUBECTL, cluster: str = "default") -> Source:
    """A source, not yet started, that fills one table for each of these resources.

    Names are as for `resource`; `ResourceOptions` limit what is read and kept. The tables are added to ``db``. The
    attribute ``tables`` of the source has them in the order of the names: ``pods, deployments = source.tables``. Their
    rows are of type `statedb.catalog.Object`. A table of `statedb.catalog.kinds` stands for its resource, with typed
    rows: ``kubernetes.resources(db, kinds.Pods)``. Raises InvalidOptions, MissingDependency.
    """
    if not named:
        raise InvalidOptions("name at least one resource, as in kubernetes.resources(db, 'pods')")
    own = _own(db, named, cluster)
    return _source(db, cluster, 0, _without_tables(options), own)


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
    owns: Callable[[R], bool] | None = None,
) -> Source:
    """Like `resource`, for all objects of a resource with an exact name, so that discovery is not used.

    ``group`` is empty for the core group. ``table``, ``sources`` and ``rejected`` are added to ``db`` if it lacks them.
    Raises InvalidOptions, MissingDependency.
    """
    if not version or not plural:
        raise InvalidOptions("version and plural: name both, as in 'example.org', 'v1', 'certificates'")

    def decoded(value: Value) -> tuple[R, ...]:
        return own_rows(table, lambda: decode(bytes(value)), owns)

    _register(db, table)
    own = Resource(group, version, plural, (table,), decoded, is_users=True)
    return _source(db, cluster, 0, _without_tables(options), (own,), owns)


def writer(manager: str, options: ApiServerOptions = _KUBECTL) -> Writer:
    """A writer, which changes objects of an API server: apply, patch, status, finalizers, owners, events.

    ``manager`` is the field manager of its changes. Raises InvalidOptions, MissingDependency.
    """
    try:
        from .credentials import check
        from .writing import connected
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    check(options)
    try:
        return connected(options, manager)
    except Unauthorized as error:
        raise InvalidOptions(str(error)) from None


def own_tables(options: KubernetesOptions) -> tuple[AnyTable, ...]:
    """The tables of the option ``resources``. Raises InvalidOptions."""
    return tables_of(options.resources)


def _own(db: Database, named: Iterable[Named], cluster: str) -> tuple[Resource, ...]:
    named = tuple(named)
    tables = tables_of(named)
    found = tuple([resource for each in named for resource in without_decoder(each, cluster)])
    _register(db, *tables)
    return found


def _register(db: Database, *tables: AnyTable) -> None:
    """Add tables to the database, and those that every source needs, if they are missing. Raises InvalidOptions."""
    for table in (*tables, Sources, Rejected):
        try:
            db.register(table)
        except InvalidTable as error:
            raise InvalidOptions(f"{error}; name another table by ResourceOptions(resource=..., table=...)") from None


def _without_tables(options: KubernetesOptions) -> KubernetesOptions:
    """The options of a source for a user's own tables. Raises InvalidOptions if they name tables or resources."""
    if options.tables is not None:
        raise InvalidOptions("tables: a source of your own fills the table it is given; leave the option out")
    if options.resources:
        raise InvalidOptions("resources: name them as arguments of kubernetes.resources, and leave the option out")
    return options


def _source(
    db: Database,
    cluster: str,
    cluster_id: int,
    options: KubernetesOptions,
    own: tuple[Resource, ...],
    owns: Callable[[Any], bool] | None = None,
) -> Source:
    try:
        from .session import KubernetesSource
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return KubernetesSource(db, cluster, cluster_id, options, own=own, owns=owns)


def _missing(error: ModuleNotFoundError) -> MissingDependency:
    return MissingDependency(f"backend 'kubernetes' needs the package {error.name!r}; install 'statedb[kubernetes]'")
