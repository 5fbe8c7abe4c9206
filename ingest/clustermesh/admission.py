"""The config of a remote cluster, and whether the cluster may join our mesh."""

from __future__ import annotations

from statedb.catalog.wire import WireError, cluster_configs
from statedb.catalog.wire.cluster_configs import ClusterConfig

from ..etcd import PUT, EtcdError, KeyValue, WatchBatch
from .ids import ClusterIds
from .kinds import Layout


class IncompatibleCluster(EtcdError):
    """The etcd answers, but its cluster cannot join this mesh."""


class Admission:
    """The cluster config, as it is in the etcd and as it was admitted. For one thread at a time."""

    def __init__(self, layout: Layout, own_id: int | None, ids: ClusterIds | None) -> None:
        """``own_id`` is the id that the cluster must have. Without it ``ids`` decides which ids are allowed."""
        self._layout = layout
        self._own_id = own_id
        self._ids = ids
        self._admitted: ClusterConfig | None = None
        self.raw: bytes | None = None
        """The present or latest config in this etcd; None if there was never one."""
        self.revision = 0
        """The revision at which the config was last written."""
        self.is_lost = False
        """Whether the config disappeared while we were connected, because its writer is away."""

    @property
    def key(self) -> str:
        """The key of the cluster config."""
        return self._layout.config_key.decode()

    def read(self, kv: KeyValue | None) -> None:
        """Take the config that a new connection has read."""
        self.raw, self.revision = (None, 0) if kv is None else (kv.value, kv.mod_revision)
        self.is_lost = False

    def on_events(self, batch: WatchBatch) -> bool:
        """Whether the config differs from the one at the start of this connection. A missing config does not differ."""
        changed = False
        for event in batch.events:
            self.is_lost = event.type != PUT
            if event.type == PUT:
                changed |= self.raw is not None and event.kv.value != self.raw
                self.raw, self.revision = event.kv.value, event.kv.mod_revision
        return changed

    def admit(self) -> tuple[ClusterConfig, bool]:
        """Admit the cluster. Returns its config, and whether its id has changed. Raises IncompatibleCluster."""
        try:
            config = cluster_configs.decode(self.raw or b"")
        except WireError as error:
            raise IncompatibleCluster(f"{self.key}: {error}") from None
        before = self._admitted
        why = self._why_not(config)
        if why:
            raise IncompatibleCluster(f"{self.key}: {why}")
        self._admitted = config
        return config, before is not None and before.id != config.id and self._ids is not None

    def leave(self) -> None:
        """The cluster has left the mesh: release its id."""
        if self._ids is not None:
            self._ids.release(self._layout.cluster)

    def _why_not(self, config: ClusterConfig) -> str:
        """Why this cluster cannot be admitted. If it can, its id is claimed and the result is empty."""
        if self._own_id is not None:
            if config.id != self._own_id:
                return f"its id is {config.id}, our own is {self._own_id}"
            if config.id == 0:
                config = ClusterConfig(1, max_connected_clusters=config.max_connected_clusters)
        why = cluster_configs.why_incompatible(config, self._layout.max_clusters)
        return why or ("" if self._ids is None else self._ids.claim(self._layout.cluster, config.id))
