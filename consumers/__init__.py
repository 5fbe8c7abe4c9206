"""Consumers: programs that act on tables. They do not know where the rows come from.

``follow`` calls a function for each batch of changes, ``handle`` one for each row that is added, updated or deleted,
``derive`` keeps a table equal to a function of other tables, ``reconcile`` makes objects outside equal to rows. The
derived tables that exist already are in ``consumers.tables``, the writers of an etcd in ``consumers.etcd``.
"""

from .reconciling import reconcile
from .running import Again, Derivation, Follower, Reconciler, SourceSnapshot, derive, follow, handle

__all__ = ["Again", "Derivation", "Follower", "Reconciler", "SourceSnapshot", "derive", "follow", "handle", "reconcile"]
