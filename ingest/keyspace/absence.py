"""Why keys are gone from an etcd: they were deleted, or their lease has ended.

The lease of a key is read at the last revision that had the key. If that lease is still alive, or there was none, the
key was deleted. Without ``keys`` in the request, etcd requires no rights for the lease (etcd v3.5 server/etcdserver/
v3_server.go, LeaseTimeToLive).

If that revision is compacted, all leases that keys of the prefix have had are queried. If all of them are alive, no key
of the prefix can have expired.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ..belief import Absence
from ..etcd import Client, PermissionDenied

_KEYS_PER_REQUEST = 100
_LEASES_MAX = 100
"""The leases of a prefix are not queried if there are more than this: each one costs a request."""


def explain(client: Client, keys: Sequence[tuple[bytes, int]], leases: Collection[int] = ()) -> dict[bytes, Absence]:
    """Why each of these keys is gone; a key is given with the last revision that had it. Raises EtcdError.

    ``leases`` are those of all keys that may be gone, if they are known. The result is UNEXPLAINED if the revision is
    compacted and the leases do not help, or if the user may not query a lease.
    """
    found: dict[bytes, Absence] = {}
    ended: dict[int, Absence] = {0: Absence.DELETED}
    for start in range(0, len(keys), _KEYS_PER_REQUEST):
        part = keys[start : start + _KEYS_PER_REQUEST]
        for key, lease in _leases(client, part).items():
            found[key] = _of_any(client, leases, ended) if lease is None else _of_lease(client, lease, ended)
    return found


def _of_any(client: Client, leases: Collection[int], ended: dict[int, Absence]) -> Absence:
    """Why a key with one of these leases is gone."""
    if not 0 < len(leases) <= _LEASES_MAX:
        return Absence.UNEXPLAINED
    alive = all(_of_lease(client, lease, ended) is Absence.DELETED for lease in leases)
    return Absence.DELETED if alive else Absence.UNEXPLAINED


def _leases(client: Client, keys: Sequence[tuple[bytes, int]]) -> Mapping[bytes, int | None]:
    """The lease of each key; None where it is no longer known."""
    kvs = client.get_many(keys)
    return {key: None if kv is None else kv.lease for (key, _), kv in zip(keys, kvs, strict=True)}


def _of_lease(client: Client, lease: int, ended: dict[int, Absence]) -> Absence:
    known = ended.get(lease)
    if known is None:
        try:
            known = Absence.EXPIRED if client.time_to_live(lease) is None else Absence.DELETED
        except PermissionDenied:
            known = Absence.UNEXPLAINED
        ended[lease] = known
    return known


def worst(absences: Iterable[Absence]) -> Absence:
    """The weakest of these reasons to delete; DELETED if there are none."""
    order = (Absence.DELETED, Absence.LISTED_WITHOUT, Absence.EXPIRED, Absence.UNEXPLAINED)
    return max(absences, key=order.index, default=Absence.DELETED)
