"""The ways to follow tables: call a function for each batch, derive a table, reconcile the outside world.

Knows tables of any kind, and none by name.
"""

from .derivation import Derivation, derive
from .follower import Follower, follow
from .reconciler import Reconciler, ReconcilerStats, reconcile

__all__ = ["Derivation", "Follower", "Reconciler", "ReconcilerStats", "derive", "follow", "reconcile"]
