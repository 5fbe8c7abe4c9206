"""The metadata of a Kubernetes object, as the first fields of its row. Pure."""

from typing import TypeAlias

import msgspec

from statedb.catalog.objects import ObjectKey, Owner, pairs


class OwnerReference(msgspec.Struct, rename="camel", gc=False):
    """An entry of ``ownerReferences``."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class ObjectMetadata(msgspec.Struct, rename="camel", gc=False):
    """The metadata that rows have. ``managedFields`` are not decoded."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None
    finalizers: list[str] | None = None


_Pairs: TypeAlias = tuple[tuple[str, str], ...]
Head: TypeAlias = tuple[ObjectKey, str, str, int, str, str, _Pairs, _Pairs, tuple[Owner, ...], tuple[str, ...]]
"""The fields of an `ObjectHead`, in order."""


def head(metadata: ObjectMetadata, cluster: str) -> Head:
    """The first fields of the row of an object."""
    return (
        ObjectKey(cluster, metadata.namespace, metadata.name),
        metadata.uid,
        metadata.resource_version,
        metadata.generation,
        metadata.creation_timestamp or "",
        metadata.deletion_timestamp or "",
        pairs(metadata.labels),
        pairs(metadata.annotations),
        tuple([_owner(each) for each in metadata.owner_references or ()]),
        tuple(metadata.finalizers or ()),
    )


def _owner(owner: OwnerReference) -> Owner:
    return Owner(owner.api_version, owner.kind, owner.name, owner.uid, owner.controller is True)
