"""Resources that users choose: their names, limits and tables. Knows no API server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct, structs

from statedb import InvalidTable, Table
from statedb.catalog import kinds
from statedb.catalog.objects import objects_table
from statedb.catalog.wire.kinds import reader

from ..errors import InvalidOptions
from ..objects import index_name, index_names
from ..own_rows import own_rows
from ..source import AnyTable
from .object_rows import ObjectReader
from .paths import Path, parse
from .resource_spec import Resource, Scope, Value

Only: TypeAlias = Literal["metadata"]

_NODE_OF_PODS = "spec.nodeName"
_Text = Annotated[str, Meta(min_length=1)]


class ResourceOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A resource, named as for kubectl, and how it becomes a table.

    ``table`` is the name of the table, by default the name of the resource without its group. ``namespaces``: only
    these, with a list and a watch for each, so that rights for them suffice. ``labels`` and ``fields``: selectors, as
    for kubectl. ``only: metadata``: only metadata is requested. ``keep``: the paths outside of the metadata to keep.
    ``drop``: paths to remove. ``index``: additional indexes, name -> path. ``typed``: the rows are those of
    `statedb.catalog.kinds`, for the resources that it has; the last four options are for other rows.
    """

    resource: _Text
    table: _Text | None = None
    namespaces: Annotated[tuple[_Text, ...], Meta(min_length=1)] | None = None
    labels: str = ""
    fields: str = ""
    only: Only | None = None
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    index: dict[str, str] = {}
    typed: bool = False


Named: TypeAlias = str | ResourceOptions | AnyTable
"""A resource as a user names it: by a name, with options, or by a table of `statedb.catalog.kinds`."""


def chosen_of(named: Named) -> ResourceOptions:
    """The options of a resource, which may be only a name or a table. Raises InvalidOptions."""
    if isinstance(named, str):
        return ResourceOptions(resource=named)
    if isinstance(named, ResourceOptions):
        return named
    return ResourceOptions(resource=kind_of(named).resource, table=named.name, typed=True)


def kind_of(table: AnyTable) -> kinds.Kind:
    """The resource whose typed rows a table holds. Raises InvalidOptions."""
    found = kinds.kind_of(table)
    if found is None:
        raise InvalidOptions(
            f"table {table.name!r} has rows of your own: name its resource and give a function that decodes it, "
            "as in kubernetes.resource(db, 'pods', Pods, decode)"
        )
    return found


def table_of(named: Named) -> AnyTable:
    """The table of a resource; always the same class for the same options. Raises InvalidOptions."""
    options = chosen_of(named)
    if isinstance(named, type):
        return named
    name = options.table or options.resource.partition(".")[0].lower()
    try:
        if options.typed:
            kind = _typed_kind(options)
            return kind.table_named(options.table or kind.table.name)
        return objects_table(name, tuple(_indexes(options)))
    except InvalidTable as error:
        raise InvalidOptions(f"resources: {options.resource}: {error}; name another one by the option table") from None


def _typed_kind(options: ResourceOptions) -> kinds.Kind:
    """The resource with typed rows that is meant. Raises InvalidOptions."""
    kind = kinds.kind_named(options.resource)
    if kind is None:
        raise InvalidOptions(f"resources: {options.resource}: has no typed rows; those that have are {kinds.known()}")
    for option in ("only", "keep", "drop", "index"):
        if getattr(options, option):
            raise InvalidOptions(
                f"resources: {options.resource}: typed rows have fields and indexes of their own; "
                f"leave the option {option} out, or typed"
            )
    return kind


def tables_of(resources: Iterable[Named]) -> tuple[AnyTable, ...]:
    """The tables of resources, in their order. Raises InvalidOptions if two resources have the same table."""
    found: dict[str, str] = {}
    tables = []
    for each in resources:
        table, resource = table_of(each), chosen_of(each).resource
        if table.name in found:
            raise InvalidOptions(
                f"resources: {found[table.name]} and {resource} both fill table {table.name!r}; "
                "give one of them another name by the option table"
            )
        found[table.name] = resource
        tables.append(table)
    return tuple(tables)


def without_decoder(named: Named, cluster: str) -> tuple[Resource, ...]:
    """A resource, in its scopes, whose objects become typed rows or rows of type `Object`. Raises InvalidOptions."""
    options, table = chosen_of(named), table_of(named)
    if options.typed:
        kind = _typed_kind(options)
        return _scoped(structs.replace(options, resource=kind.resource), table, reader(kind.table.row_type, cluster))
    read = ObjectReader(
        cluster,
        keep=_paths(options, "keep", options.keep),
        drop=_paths(options, "drop", options.drop),
        indexed=_paths(options, "index", _indexes(options).values()),
    )
    return _scoped(options, table, read)


def with_decoder(
    options: ResourceOptions,
    table: type[Table[Any, Any]],
    decode: Callable[[bytes], Iterable[Any]],
    owns: Callable[[Any], bool] | None = None,
) -> tuple[Resource, ...]:
    """A resource, in its scopes, with a user's decoder. ``owns`` tells which rows belong to the source."""

    def decoded(value: Value) -> tuple[Any, ...]:
        return own_rows(table, lambda: decode(bytes(value)), owns)

    return _scoped(options, table, decoded)


def _scoped(
    options: ResourceOptions, table: type[Table[Any, Any]], decode: Callable[[Value], tuple[Any, ...]]
) -> tuple[Resource, ...]:
    name, _, group = options.resource.partition(".")
    return tuple(
        [
            Resource(
                group,
                "",
                name,
                (table,),
                decode,
                scope=Scope(namespace, options.labels, options.fields, options.only == "metadata"),
            )
            for namespace in dict.fromkeys(options.namespaces or ("",))
        ]
    )


def _indexes(options: ResourceOptions) -> dict[str, str]:
    """The paths of the additional indexes, by the names of the indexes in the table. Raises InvalidOptions."""
    try:
        names = index_names(options.resource, options.index)
    except ValueError as error:
        raise InvalidOptions(f"resources: {options.resource}: {error}") from None
    wanted = {index_name(name): path for name, path in options.index.items()}
    return {name: wanted.get(name, _NODE_OF_PODS) for name in names}


def _paths(options: ResourceOptions, option: str, texts: Iterable[str]) -> tuple[Path, ...]:
    try:
        return tuple([parse(text) for text in texts])
    except ValueError as error:
        raise InvalidOptions(f"resources: {options.resource}: {option}: {error}") from None
