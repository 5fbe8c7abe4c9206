"""The options of the kvstore backend, as they stand in the configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ..keyspace.options import EtcdOptions, TlsOptions as TlsOptions


class KvstoreOptions(EtcdOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """An etcd in Cilium's KVStore layout. All endpoints belong to one etcd cluster.

    ``relist_s``: list all keys again after so many seconds, in case a watch loses events (as some servers before 3.4.36
    and 3.5.18 do around a compaction). Without it, keys are listed again only when necessary.
    """

    relist_s: Annotated[float, Meta(gt=0)] | None = None
