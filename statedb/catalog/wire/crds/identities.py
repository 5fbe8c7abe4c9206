"""CiliumIdentity: the number is its name, the labels stand at top level."""

import msgspec

from statedb.catalog.identities import Identity

from .. import labels
from .._errors import WireError
from ..identities import number, of_labels
from ._objects import Metadata, named, read


class _Identity(msgspec.Struct, rename={"security_labels": "security-labels"}, gc=False):
    metadata: Metadata
    security_labels: dict[str, str] = {}


def identity(value: object, cluster: str) -> Identity | None:
    """The row of a CiliumIdentity, or None where it has no labels: that says nothing, so earlier rows stay.

    Raises WireError.
    """
    found = read(value, _Identity)
    numeric = number(named(found.metadata))
    if not found.security_labels:
        return None
    try:
        # Through the text of etcd and back: so a label that does not survive that is the same from both sources.
        of = labels.parse_list(labels.sorted_list(labels.from_map(found.security_labels)))
        return of_labels(cluster, numeric, of)
    except WireError as error:
        raise WireError(f"security-labels: {error}") from None
