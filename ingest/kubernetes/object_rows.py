"""Any object of Kubernetes as a row of `statedb.catalog.Object`. Pure: JSON in, one row out."""

from __future__ import annotations

from typing import Any

import msgspec

from statedb.catalog.objects import Object
from statedb.catalog.wire import DECODE_ERRORS, WireError
from statedb.catalog.wire.metadata import ObjectMetadata, head

from .paths import Path, kept, keys_at, remove
from .resource_spec import Value

_TYPED = ("apiVersion", "kind", "metadata")
"""Fields that are not in the rest. Items of lists may lack the first two, and equal objects must give equal rows."""


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_metadata = msgspec.json.Decoder(ObjectMetadata).decode


class ObjectReader:
    """Makes rows of the objects of one resource of one cluster."""

    def __init__(
        self,
        cluster: str,
        *,
        keep: tuple[Path, ...] = (),
        drop: tuple[Path, ...] = (),
        indexed: tuple[Path, ...] = (),
    ) -> None:
        """``keep``: the paths outside of the metadata to keep, by default all. ``drop``: paths to remove.

        Labels and annotations can be dropped as well. Each value at a path of ``indexed`` becomes a key, even if the
        path is not kept.
        """
        self._cluster = cluster
        self._keep = keep
        self._drop = tuple([path for path in drop if path[0] != "metadata"])
        self._drop_metadata = tuple([path[1:] for path in drop if path[0] == "metadata" and len(path) > 1])
        self._indexed = indexed

    def __call__(self, value: Value) -> tuple[Object, ...]:
        """The row of an object. Raises WireError if the JSON is not an object of Kubernetes."""
        try:
            fields = _fields(value)
            metadata = _metadata(fields["metadata"])
            return (self._row(fields, metadata),)
        except KeyError:
            raise WireError("metadata: is missing") from None
        except DECODE_ERRORS as error:
            raise WireError(str(error)) from error

    def _row(self, fields: dict[str, msgspec.Raw], metadata: ObjectMetadata) -> Object:
        labels, annotations = metadata.labels, metadata.annotations
        for path in self._drop_metadata:
            remove({"labels": labels, "annotations": annotations}, path)
        indexed = tuple([_keys(fields, path) for path in self._indexed])
        return Object(*head(metadata, self._cluster), self._rest(fields), indexed)

    def _rest(self, fields: dict[str, msgspec.Raw]) -> str:
        """The JSON of all other fields. Only fields that a path leads into are decoded."""
        roots = {path[0] for path in (*self._keep, *self._drop)}
        rest: dict[str, Any] = {}
        for name, raw in fields.items():
            if name in _TYPED or (self._keep and name not in roots):
                continue
            rest[name] = msgspec.json.decode(raw) if name in roots else raw
        for path in self._drop:
            remove(rest, path)
        return msgspec.json.encode(kept(rest, self._keep) if self._keep else rest).decode()


def _keys(fields: dict[str, msgspec.Raw], path: Path) -> tuple[str, ...]:
    raw = fields.get(path[0])
    return () if raw is None else keys_at(msgspec.json.decode(raw), path[1:])
