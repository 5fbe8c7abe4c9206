"""Why keys went from an etcd: somebody deleted them, or the lease that they hung on has ended.

The lease of a key is read at the last revision that had the key. If that lease lives on, or there was none, somebody
deleted the key. Without ``keys`` in the request, etcd asks for no rights on the lease (etcd v3.5 server/etcdserver/
v3_server.go, LeaseTimeToLive).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..belief import Absence
from ..etcd import Client, Compacted, FutureRevision, PermissionDenied

_KEYS_PER_REQUEST = 100


def explain(client: Client, keys: Sequence[tuple[bytes, int]]) -> dict[bytes, Absence]:
    """For each key that went, with the last revision that had it: how it went. Raises EtcdError.

    UNEXPLAINED where that revision is compacted, or the lease may not be asked for.
    """
    found: dict[bytes, Absence] = {}
    ended: dict[int, Absence] = {0: Absence.DELETED}
    for start in range(0, len(keys), _KEYS_PER_REQUEST):
        part = keys[start : start + _KEYS_PER_REQUEST]
        for key, lease in _leases(client, part).items():
            found[key] = Absence.UNEXPLAINED if lease is None else _of_lease(client, lease, ended)
    return found


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
