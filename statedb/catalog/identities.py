"""Security identities: numbers that stand for sets of labels. Knows neither etcd nor Kubernetes."""

import msgspec

from statedb import Index, Table, UniqueIndex


class IdentityKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """A number is assigned once in its cluster."""

    cluster: str
    id: int


class Identity(msgspec.Struct, frozen=True, gc=False):
    """The meaning of one identity number.

    ``labels`` are texts ``source:key=value``, always with the ``=``, one for each key, sorted by key. ``namespace`` is
    the Kubernetes namespace among them, or empty.
    """

    key: IdentityKey
    labels: tuple[str, ...] = ()
    namespace: str = ""

    @property
    def label_set(self) -> str:
        """The labels as one text, each followed by ``;``. Equal sets have equal texts."""
        return "".join([label + ";" for label in self.labels])


class Identities(Table[IdentityKey, Identity], name="identities"):
    """One row for each identity of every known cluster."""

    primary = UniqueIndex[IdentityKey, Identity](lambda identity: identity.key)
    by_label = Index[str, Identity](lambda identity: identity.labels)
    by_labels = Index[str, Identity](lambda identity: (identity.label_set,))
