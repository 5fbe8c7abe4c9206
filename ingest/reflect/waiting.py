"""What waits for an address that another object has: rows of `WaitingEndpoints`, in databases that have the table."""

from __future__ import annotations

from typing import Any

from statedb import Database
from statedb.catalog import WaitingEndpoint, WaitingEndpointKey, WaitingEndpoints

from .claims import Claims
from .writer import Changes


class WaitingRows:
    """The rows of one source. For its thread."""

    def __init__(self, db: Database, cluster: str, claims: Claims[Any, Any] | None) -> None:
        """``claims`` are those on `Endpoints`; None where the source has no such table."""
        self._db = db
        self._cluster = cluster
        self._claims = claims if WaitingEndpoints in db.tables else None
        if self._claims is not None:
            self._claims.moved = set()

    def add_to(self, changes: Changes, *, is_full: bool) -> None:
        """Add what has changed since the last call; ``is_full``: all lists have come, so nothing is left of before."""
        claims = self._claims
        if claims is None or claims.moved is None or not (claims.moved or is_full):
            return
        view = self._db.snapshot()[WaitingEndpoints]
        of_cluster = list(view.prefix((self._cluster,))) if is_full else []
        rows: dict[Any, Any] = {row.key: None for row in of_cluster if row.endpoint.key not in claims}
        for key in claims.moved | {row.endpoint.key for row in of_cluster if row.endpoint.key in claims}:
            rows.update({row.key: None for row in view.prefix((key.cluster, key.ip)) if row.endpoint.key == key})
            for name, endpoint in claims.waiting(key).items():
                row = WaitingEndpoint(WaitingEndpointKey(key.cluster, key.ip, name), endpoint)
                rows[row.key] = row
        claims.moved.clear()
        if rows:
            changes[WaitingEndpoints] = rows
