"""Which missing keys are believed to be deleted, where writers have a heartbeat and canaries.

Collects the evidence; `ingest.belief` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..belief import Absence, History, Verdict, Yes
from ..etcd import Client, Lease, PermissionDenied, Unavailable
from .prefix import Prefix
from .writers import Writers

_LEASES_S = 10.0


def list_verdict(
    writers: Writers, prefix: Prefix, client: Client, revision: int, now: float, *, has_inherited: bool
) -> Verdict:
    """Whether rows of keys that a list lacks may be deleted. The canaries must exist at the list's revision.

    Raises Unavailable if a canary is missing at the first list. That list may be incomplete, and the table would count
    as initialized.
    """
    canaries = prefix.kind.canaries
    for canary in writers.needed(canaries):
        if client.get(canary, revision).kv is None:
            writers.canary_lost(canary)
    missing = missing_canary(writers, prefix)
    if missing and not prefix.listed:
        raise Unavailable(f"{client.endpoint}: {missing}")
    is_first = not (prefix.listed or has_inherited or writers.older_canary(prefix.feed))
    history = History.NONE if is_first else None
    return writers.verdict(prefix.feed, canaries, None, now, history=history)


def verdict(writers: Writers, prefix: Prefix, absence: Absence, now: float) -> Verdict:
    """Whether rows of keys that are gone from this etcd for this reason may be deleted."""
    if absence in (Absence.EXPIRED, Absence.UNEXPLAINED):
        writers.start_doubt(prefix.feed, absence)
    return writers.verdict(prefix.feed, prefix.kind.canaries, absence, now, history=History.SAME)


def settle(writers: Writers, prefixes: Sequence[Prefix], withheld: Callable[[Prefix], int], now: float) -> None:
    """Decide again about withheld rows. Those that may go are deleted by a new list: events may be on their way."""
    doubtful = [prefix for prefix in prefixes if withheld(prefix)]
    for prefix in prefixes:
        writers.observe_writes(prefix.feed, prefix.changes, prefix.lease, now)
        if prefix not in doubtful:
            writers.nothing_withheld(prefix.feed)
        elif isinstance(writers.verdict(prefix.feed, prefix.kind.canaries, None, now), Yes):
            prefix.due = True
    if not doubtful and not any(prefix.due for prefix in prefixes):
        writers.mark_known()


def missing_canary(writers: Writers, prefix: Prefix) -> str:
    """The message for a missing canary; empty if there is none."""
    for canary in writers.missing(prefix.kind.canaries):
        return f"waiting for {canary.decode('utf-8', 'backslashreplace')}: not all of it is there yet"
    return ""


class LeaseChecks:
    """Checks every ten seconds whether writers renew their leases, on one connection. For one thread."""

    __slots__ = ("_due_at", "warning")

    def __init__(self) -> None:
        """The first check is due at once."""
        self._due_at = 0.0
        self.warning = ""
        """Leases that are too short, for the operator; empty if there are none."""

    def check(self, client: Client, prefixes: Iterable[tuple[Writers, Prefix]], now: float) -> None:
        """Check the leases of the canaries of these prefixes, if that is due. Raises EtcdError."""
        if now < self._due_at:
            return
        self._due_at = now + _LEASES_S
        try:
            for writers, prefix in prefixes:
                for lease in writers.leases(prefix.kind.canaries):
                    self._note(writers, prefix, lease, client.time_to_live(lease), now)
        except PermissionDenied:
            return

    def _note(self, writers: Writers, prefix: Prefix, lease: int, found: Lease | None, now: float) -> None:
        writers.observe_lease(prefix.feed, lease, found, now)
        if found is not None and found.granted_s < writers.heartbeat.timeout_s:
            self.warning = (
                f"its writer's leases last {found.granted_s} s, less than heartbeat-timeout-s: its keys expire "
                "before its silence is noticed"
            )
