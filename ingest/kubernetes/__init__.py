"""Any resource of an API server as a table, and all tables of a cluster with Cilium.

Needs the extra ``statedb[kubernetes]`` when a source is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from statedb import Database, InvalidTable, Table
from statedb.catalog import Rejected, Sources

from ..errors import InvalidOptions, MissingDependency
from ..own_rows import own_rows
from ..source import AnyTable, Source
from .election import Election as Election
from .errors import Unauthorized
from .options import ApiServerOptions, KubernetesOptions as KubernetesOptions
from .own_writes import owners_of as owners_of, seen as seen, wait_seen as wait_seen
from .resource_spec import Resource, Value
from .selection import Named, Only, ResourceOptions as ResourceOptions, tables_of, typed, untyped

if TYPE_CHECKING:  # it needs the extra
    from .writing import Writer

R = TypeVar("R")

_KUBECTL = KubernetesOptions()
"""The server and the user of kubectl."""


def open(db: Database, cluster_name: str, cluster_id: int, options: KubernetesOptions) -> Source:  # noqa: A001
    """A source, not yet started. Raises InvalidOptions, MissingDependency."""
    own = _untyped(db, options.resources, cluster_name)
    return _source(db, cluster_name, cluster_id, options, own)


def resource(
    db: Database,
    name: str,
    table: type[Table[Any, R]],
    decode: Callable[[bytes], Iterable[R]],
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
    ``deploy.apps``, ``widgets.v1.example.org``. A resource that is not served yet is waited for. ``namespaces``: only
    these, and rights for these suffice; all if not given. ``labels`` and ``fields`` are selectors. With
    ``only="metadata"`` the server sends nothing else.

    ``decode`` is given an object as JSON and gives the rows, none, one or several. It is called by one thread for each
    namespace, and must be pure. What it raises costs only that object: its last good rows stay, and the table
    ``rejected`` says why. All promises of the backend hold: lists that may delete, outages, truth about its state.

    Several sources may fill one table, each under a ``cluster`` of its own. Then ``owns`` says which rows are this
    one's, or the type of the table's keys begins with a field ``cluster``. The tables ``sources`` and ``rejected`` are
    added to ``db`` where it lacks them, and ``table`` is. Raises InvalidOptions, MissingDependency.
    """
    if isinstance(namespaces, str):
        raise InvalidOptions(f"namespaces: {namespaces!r} is a text; give a list, as in namespaces=[{namespaces!r}]")
    listed = None if namespaces is None else tuple(namespaces)
    if not name or listed == () or "" in (listed or ()):
        raise InvalidOptions("name a resource, and at least one namespace or none at all")
    chosen = ResourceOptions(resource=name, namespaces=listed, labels=labels, fields=fields, only=only)
    _register(db, table)
    return _source(db, cluster, 0, _without_tables(options), typed(chosen, table, decode, owns), owns)


def resources(db: Database, *named: Named, options: KubernetesOptions = _KUBECTL, cluster: str = "default") -> Source:
    """A source, not yet started, that fills a table for each of these resources with rows as they come.

    A name is as for `resource`; `ResourceOptions` limit what is read and kept. The tables stand in ``tables`` of the
    source, in the order of the names, and are added to ``db``: ``pods, deployments = source.tables``. Their rows are of
    type `statedb.catalog.Object`. Raises InvalidOptions, MissingDependency.
    """
    if not named:
        raise InvalidOptions("name at least one resource, as in kubernetes.resources(db, 'pods')")
    own = _untyped(db, named, cluster)
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
    """As `resource`, for all objects of a resource that is named exactly: nothing is asked of discovery.

    ``group`` is empty for the core. ``db`` has the tables ``sources`` and ``rejected`` of the catalog beside yours.
    Raises InvalidOptions, MissingDependency.
    """
    if not version or not plural:
        raise InvalidOptions("version and plural: name both, as in 'example.org', 'v1', 'certificates'")

    def decoded(value: Value) -> tuple[R, ...]:
        return own_rows(table, lambda: decode(bytes(value)), owns)

    own = Resource(group, version, plural, (table,), decoded)
    return _source(db, cluster, 0, _without_tables(options), (own,), owns)


def writer(manager: str, options: ApiServerOptions = _KUBECTL) -> Writer:
    """What changes objects of an API server: apply, patch, status, finalizers, owners, events.

    ``manager`` is the name by which the server remembers who set which field. Raises InvalidOptions, MissingDependency.
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
    """The tables of the resources that the options name. Raises InvalidOptions."""
    return tables_of(options.resources)


def _untyped(db: Database, named: Iterable[Named], cluster: str) -> tuple[Resource, ...]:
    named = tuple(named)
    tables = tables_of(named)
    found = tuple([resource for each in named for resource in untyped(each, cluster)])
    _register(db, *tables)
    return found


def _register(db: Database, *tables: AnyTable) -> None:
    """Add tables where they are missing, and those that every source needs. Raises InvalidOptions."""
    for table in (*tables, Sources, Rejected):
        try:
            db.register(table)
        except InvalidTable as error:
            raise InvalidOptions(f"{error}; name another table by ResourceOptions(resource=..., table=...)") from None


def _without_tables(options: KubernetesOptions) -> KubernetesOptions:
    """Options of a source of a user's own. Raises InvalidOptions where they choose something else."""
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
