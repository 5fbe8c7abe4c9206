"""The options of the kvstore backend, as they stand in the configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ..keyspace.options import EtcdOptions, TlsOptions as TlsOptions


class KvstoreOptions(EtcdOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """An etcd in Cilium's KVStore layout; all endpoints are of one etcd cluster.

    ``relist_s``: list everything anew that often, as a net below the watches (some servers before 3.4.36 and 3.5.18
    lose events around a compaction); never if not given.
    """

    relist_s: Annotated[float, Meta(gt=0)] | None = None
