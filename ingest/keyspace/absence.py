"""Why keys went from an etcd: somebody deleted them, or the lease that they hung on has ended.

The lease of a key is read at the last revision that had the key. If that lease lives on, or there was none, somebody
deleted the key. Without ``keys`` in the request, etcd asks for no rights on the lease (etcd v3.5 server/etcdserver/
v3_server.go, LeaseTimeToLive).

Where that revision is compacted, the leases of all keys that the prefix has had are asked for. If they all live on,
none of its keys can have expired.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ..belief import Absence
from ..etcd import Client, Compacted, FutureRevision, PermissionDenied

_KEYS_PER_REQUEST = 100
_LEASES_MAX = 100
"""A prefix with more leases than these is not asked about: each costs a request."""


def explain(client: Client, keys: Sequence[tuple[bytes, int]], leases: Collection[int] = ()) -> dict[bytes, Absence]:
    """For each key that went, with the last revision that had it: how it went. Raises EtcdError.

    ``leases``: those of all keys that may have gone, if they are known. UNEXPLAINED where the revision is compacted and
    they do not help, or a lease may not be asked for.
    """
    found: dict[bytes, Absence] = {}
    ended: dict[int, Absence] = {0: Absence.DELETED}
    for start in range(0, len(keys), _KEYS_PER_REQUEST):
        part = keys[start : start + _KEYS_PER_REQUEST]
        for key, lease in _leases(client, part).items():
            found[key] = _of_any(client, leases, ended) if lease is None else _of_lease(client, lease, ended)
    return found


def _of_any(client: Client, leases: Collection[int], ended: dict[int, Absence]) -> Absence:
    """Of a key that hung on one of these leases."""
    if not 0 < len(leases) <= _LEASES_MAX:
        return Absence.UNEXPLAINED
    alive = all(_of_lease(client, lease, ended) is Absence.DELETED for lease in leases)
    return Absence.DELETED if alive else Absence.UNEXPLAINED


def _leases(client: Client, keys: Sequence[tuple[bytes, int]]) -> Mapping[bytes, int | None]:
    """The lease that each key hung on; None where that is not known any more."""
    try:
        kvs = client.get_many(keys)
    except (Compacted, FutureRevision):
        return _one_by_one(client, keys) if len(keys) > 1 else dict.fromkeys(dict(keys))
    return {key: None if kv is None else kv.lease for (key, _), kv in zip(keys, kvs, strict=True)}


def _one_by_one(client: Client, keys: Sequence[tuple[bytes, int]]) -> dict[bytes, int | None]:
    """In halves: what is compacted is old, and the rest is not."""
    half = len(keys) // 2
    return {**_leases(client, keys[:half]), **_leases(client, keys[half:])}


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
    """The one that says least for a delete; DELETED of none."""
    order = (Absence.DELETED, Absence.LISTED_WITHOUT, Absence.EXPIRED, Absence.UNEXPLAINED)
    return max(absences, key=order.index, default=Absence.DELETED)
