"""Consumers: programs that act on tables. They do not know where the rows come from.

``follow`` calls a function for each batch of changes. ``handle`` calls one for each row that is added, updated or
deleted. ``derive`` keeps a table equal to a function of other tables. ``reconcile`` makes objects outside of the
database match the rows. ``consumers.tables`` has ready-made derived tables, and ``consumers.etcd`` the writers of an
etcd.
"""

from .reconciling import reconcile
from .running import Again, Derivation, Follower, Reconciler, SourceSnapshot, derive, follow, handle

__all__ = ["Again", "Derivation", "Follower", "Reconciler", "SourceSnapshot", "derive", "follow", "handle", "reconcile"]
