"""The equation of every derived table: kept up incrementally == computed afresh == what a naive reading says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consumers.running.derivation import Derivation
from statedb import Database, Snapshot
from statedb.testing import Writes, check_invariants, play

from .driving import Driver


def assert_kept_up(
    db: Database,
    derivations: list[Derivation[Any, Any]],
    history: list[Writes],
    rests: list[bool],
    naive: Callable[[Snapshot], dict[Any, Any]],
) -> None:
    """Let a history happen, rest where told, and compare the last derived table with both each time."""
    drivers = [Driver(derivation) for derivation in derivations]
    for writes, rest in [*zip(history, rests), (None, True)]:
        if writes is not None:
            play([writes], db)
        if not rest:
            continue
        for driver in drivers:
            driver.settle()
        snapshot = db.snapshot()
        for derivation in derivations:
            assert derivation.failure is None, derivation.failure
            assert dict(snapshot[derivation.target].items()) == derivation.compute_all(snapshot)
        assert dict(snapshot[derivations[-1].target].items()) == naive(snapshot)
    check_invariants(db)
