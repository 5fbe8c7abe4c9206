"""Objects of any Kubernetes resource: typed metadata, and the rest as JSON. Knows no API server."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from statedb import Index, Table, UniqueIndex


class ObjectKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """``namespace`` is empty for objects of cluster scope."""

    cluster: str
    namespace: str
    name: str


class Owner(msgspec.Struct, frozen=True, gc=False):
    """An owner reference. ``controller`` is whether the owner manages the object."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False


H = TypeVar("H", bound="ObjectHead")


class ObjectHead(msgspec.Struct, frozen=True, gc=False):
    """What the row of every object has: its key and its metadata.

    ``version`` is its resourceVersion. ``created`` and ``deleting`` are times in the format of Kubernetes. ``deleting``
    is empty unless the object waits for its finalizers.
    """

    key: ObjectKey
    uid: str = ""
    version: str = ""
    generation: int = 0
    created: str = ""
    deleting: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    owners: tuple[Owner, ...] = ()
    finalizers: tuple[str, ...] = ()

    def label(self, name: str, default: str = "") -> str:
        """The value of a label, or ``default``."""
        return next((value for label, value in self.labels if label == name), default)

    def annotation(self, name: str, default: str = "") -> str:
        """The value of an annotation, or ``default``."""
        return next((value for annotation, value in self.annotations if annotation == name), default)


class Object(ObjectHead, frozen=True, gc=False):
    """One object of one resource, with the rest as JSON. `statedb.catalog.kinds` has typed rows for common resources.

    ``rest`` is JSON: everything except apiVersion, kind and metadata. ``indexed`` has the keys of the indexes by path,
    in the order of the paths.
    """

    rest: str = "{}"
    indexed: tuple[tuple[str, ...], ...] = ()

    def value(self) -> dict[str, Any]:
        """``rest`` decoded, a new value in each call (Any: JSON)."""
        value: dict[str, Any] = msgspec.json.decode(self.rest)
        return value

    def at(self, *names: str, default: Any = None) -> Any:
        """The value at a path of names in ``rest``, or ``default``: ``row.at("spec", "nodeName")``.

        Decodes ``rest`` in each call. To read several values, call `value` once.
        """
        value: Any = self.value()
        for name in names:
            if not isinstance(value, dict) or name not in value:
                return default
            value = value[name]
        return value


def standard(
    kind: type[H],  # noqa: ARG001  # for type checkers: the indexes are over rows of this type
) -> tuple[UniqueIndex[ObjectKey, H], Index[str, H], Index[str, H], Index[str, H]]:
    """New indexes for a table of objects: primary, by_namespace, by_label (``app=web``), by_owner (a uid)."""
    return (
        UniqueIndex[ObjectKey, H](lambda each: each.key),
        Index[str, H](lambda each: (each.key.namespace,)),
        Index[str, H](lambda each: tuple([f"{name}={value}" for name, value in each.labels])),
        Index[str, H](lambda each: tuple([owner.uid for owner in each.owners])),
    )


class Objects(Table[ObjectKey, Object], name="objects"):
    """What every table of `objects_table` has, for type checkers."""

    primary, by_namespace, by_label, by_owner = standard(Object)


@cache
def objects_table(name: str, paths: tuple[str, ...] = ()) -> type[Objects]:
    """A table with this name for the objects of one resource. The same arguments give the same class.

    It has the indexes of `Objects`. Each of ``paths`` adds a text index of that name, such as ``by_node``, over the
    keys at the same position of ``indexed``. The key of a label is ``app=web``, and that of an owner is its uid. Raises
    InvalidTable for a name that a table cannot have.
    """

    def fill(namespace: dict[str, Any]) -> None:
        namespace["__doc__"] = f"The objects of the resource that fills table {name!r}."
        namespace.update(zip(Objects.indexes, standard(Object)))
        for place, path in enumerate(paths):
            namespace[path] = Index[str, Object](_indexed(place))

    made = types.new_class(name, (Table[ObjectKey, Object],), {"name": name}, fill)
    return cast(type[Objects], made)  # has the attributes of Objects, but cannot inherit from a table


def _indexed(place: int) -> Callable[[Object], tuple[str, ...]]:
    return lambda each: each.indexed[place] if place < len(each.indexed) else ()


def pairs(values: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Labels or annotations as in rows: pairs sorted by name."""
    return tuple(sorted(values.items())) if values else ()
