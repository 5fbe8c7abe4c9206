"""The config of a cluster in the table `Mirror`, and the copies that it begins to announce.

A copy that is not announced is complete, because it holds nothing. Whoever reads that beside a config which announces
it takes it for the whole copy. So it is no longer complete before the config says so, until its list is believed.
"""

from __future__ import annotations

from statedb import Database
from statedb.catalog import Mirror
from statedb.catalog.wire import cluster_configs
from statedb.catalog.wire.cluster_configs import ClusterConfig

from ..events import Delete, Listed, Upsert
from ..keyspace.keyspace import completion
from ..keyspace.kind import Copy
from ..reflect import Reflector
from .kinds import MIRROR_CONFIG, Layout, kinds, mirrored_config


def write_config(db: Database, layout: Layout, reflector: Reflector, raw: bytes) -> None:
    """Write this config, which can be decoded. Copies that it begins to announce are incomplete before it is seen."""
    row = mirrored_config(layout, raw)
    mirror = db.snapshot()[Mirror]
    before = mirror.get(row.key)
    if before is not None:  # without a config there are no copies
        known = _announced(layout, cluster_configs.decode(before.value))
        for feed, copy in _announced(layout, cluster_configs.decode(raw)).items():
            if feed not in known and copy.complete.key in mirror:
                reflector.offer(*completion(copy))  # it may be a row of an earlier source
                reflector.flush()
                reflector.offer(Delete(feed, feed))
                reflector.flush()
    reflector.offer(Listed(MIRROR_CONFIG.name, [Upsert(MIRROR_CONFIG.name, row.key.name, (row,))]))


def _announced(layout: Layout, config: ClusterConfig) -> dict[str, Copy]:
    """The copies of the prefixes that the config announces, by their feeds."""
    return {kind.copy.feed: kind.copy for kind in kinds(layout, config) if kind.copy is not None}
