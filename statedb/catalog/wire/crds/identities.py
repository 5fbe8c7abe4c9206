"""CiliumIdentity: its name is the number, and its labels are a top-level field."""

import msgspec

from statedb.catalog.identities import Identity

from .. import labels
from .._errors import WireError
from ..identities import number, of_labels
from ._objects import Metadata, name_of, read


class _Identity(msgspec.Struct, rename={"security_labels": "security-labels"}, gc=False):
    metadata: Metadata
    security_labels: dict[str, str] = {}


def identity(value: object, cluster: str) -> Identity | None:
    """The row of a CiliumIdentity, or None if it has no labels: then earlier rows stay.

    Raises WireError.
    """
    found = read(value, _Identity)
    numeric = number(name_of(found.metadata))
    if not found.security_labels:
        return None
    try:
        # Encode and decode as in etcd, so that labels that this changes are the same from both sources.
        of = labels.parse_list(labels.sorted_list(labels.from_map(found.security_labels)))
        return of_labels(cluster, numeric, of)
    except WireError as error:
        raise WireError(f"security-labels: {error}") from None
