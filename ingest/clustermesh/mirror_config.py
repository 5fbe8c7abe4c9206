"""The config of a cluster in the table `Mirror`, which readers of a mesh cache take for what the cluster announces.

A copy that is not announced is complete, because it holds nothing. Beside a config that announces it, that would say
that it is the whole copy. So it is no longer complete before the config says so, until its list is believed.

A config that no longer announces a copy lets readers delete what they have of it. A dead writer leaves its config
behind, so the config of before stays until the server is believed, as the copy itself does.
"""

from __future__ import annotations

from statedb import Database
from statedb.catalog import Mirror, MirrorKey
from statedb.catalog.wire import cluster_configs

from ..events import Delete, Listed, Upsert
from ..keyspace.keyspace import completion
from ..keyspace.kind import Copy
from ..reflect import Reflector
from .kinds import MIRROR_CONFIG, Layout, kinds, mirrored_config


class MirrorConfig:
    """The config of one cluster. Does nothing where there is no mirror. For one thread at a time."""

    def __init__(self, db: Database, layout: Layout, reflector: Reflector) -> None:
        """Nothing has been read."""
        self._db = db
        self._layout = layout
        self._reflector = reflector
        self._raw = b""
        self.is_withheld = False
        """Whether the config of before stays for now, because this one no longer announces some of its copies."""

    def admit(self, raw: bytes) -> None:
        """The cluster has this config, which can be decoded. It is written now, or withheld."""
        if not self._layout.mirror:
            return
        self._raw = raw
        key = MirrorKey(self._layout.cluster, self._layout.config_key.decode())
        before = self._db.snapshot()[Mirror].get(key)
        known = {} if before is None else self._announced(before.value)  # without a config there are no copies
        announced = self._announced(raw)
        for feed, copy in announced.items():
            if before is not None and feed not in known:
                self._withdraw(copy)
        self.is_withheld = not known.keys() <= announced.keys()
        if not self.is_withheld:
            self.write()

    def write(self) -> None:
        """Write the config: nothing is deleted for it that should stay."""
        self.is_withheld = False
        row = mirrored_config(self._layout, self._raw)
        self._reflector.offer(Listed(MIRROR_CONFIG.name, [Upsert(MIRROR_CONFIG.name, row.key.name, (row,))]))

    def _withdraw(self, copy: Copy) -> None:
        """The copy is not complete any more."""
        if copy.complete.key in self._db.snapshot()[Mirror]:
            self._reflector.offer(*completion(copy))  # it may be a row of an earlier source
            self._reflector.flush()
            self._reflector.offer(Delete(copy.feed, copy.feed))
            self._reflector.flush()

    def _announced(self, raw: bytes) -> dict[str, Copy]:
        """The copies of the prefixes that a config announces, by their feeds."""
        found = kinds(self._layout, cluster_configs.decode(raw))
        return {kind.copy.feed: kind.copy for kind in found if kind.copy is not None}
