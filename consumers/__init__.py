"""Tables into effect. Consumers see tables, and nothing of where the rows come from.

``follow`` calls a function for each batch of changes, ``handle`` one for each row that is added, updated or deleted,
``derive`` keeps a table equal to a function of other tables, ``reconcile`` makes objects outside equal to rows. What is
derived already is in ``consumers.tables``; what writes an etcd is in ``consumers.etcd``.
"""

from .reconciling import reconcile
from .running import Again, Derivation, Follower, Reconciler, SourceSnapshot, derive, follow, handle

__all__ = ["Again", "Derivation", "Follower", "Reconciler", "SourceSnapshot", "derive", "follow", "handle", "reconcile"]
