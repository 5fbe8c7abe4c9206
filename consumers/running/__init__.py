"""The ways to follow tables: call a function for each batch, derive a table, reconcile the outside world.

Works with any table, and refers to none by name.
"""

from .again import Again
from .derivation import Derivation, derive
from .follower import Follower, follow
from .handlers import handle
from .names import NameTaken
from .reconciler import Reconciler, reconcile
from .reconciler_options import ReconcilerOptions, ReconcilerStats
from .source_snapshot import SourceSnapshot

__all__ = [
    "Again",
    "Derivation",
    "Follower",
    "NameTaken",
    "Reconciler",
    "ReconcilerOptions",
    "ReconcilerStats",
    "SourceSnapshot",
    "derive",
    "follow",
    "handle",
    "reconcile",
]
