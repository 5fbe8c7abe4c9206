"""Decides whether rows may be deleted, and which state a source has. Pure: knows no server, no table and no clock.

    evidence    what a backend knows about a missing object, as immutable values
    verdict     the truth table: `may_delete`
    writer      what a writer has done since we connected, or since a doubt began
    state       the state of a source, derived from its connection and from withheld deletes

How a backend uses it:

1. For each object that is missing it fills `Evidence`. An API server or a directory needs no writer: leave ``writer``
   and ``canaries`` as they are, and set ``history``: NONE for a first list when the table has no earlier rows,
   SAME only if the server (its UID, its resourceVersion, its mount) was checked *after* the answer came.
2. It asks `may_delete`. `Yes`: offer ``Delete(feed, name)``, or ``Listed(feed, objects)``. `No`: offer
   ``Delete(feed, name, doubt=no.reason)`` or ``Listed(feed, objects, full=False, doubt=no.reason)``. The reflector then
   keeps the rows, counts them as withheld, and the source's row in ``sources`` is ``stale`` with that reason, in the
   same transaction.
3. When the evidence changes (the writer acted, the operator accepted), it asks again, and calls
   ``Reflector.release(feed)`` for a `Yes`. An object that the server reports again before that is released.
4. It reports the state of its *connection* with ``Status.report``. It never reports that deletes are withheld.
"""

from .evidence import Absence, Canaries, Evidence, History, WriterActivity
from .state import State, derived
from .verdict import TABLE, No, Rule, Verdict, Yes, may_delete
from .writer import WriterWatch

__all__ = [
    "TABLE",
    "Absence",
    "Canaries",
    "Evidence",
    "History",
    "No",
    "Rule",
    "State",
    "Verdict",
    "WriterActivity",
    "WriterWatch",
    "Yes",
    "derived",
    "may_delete",
]
