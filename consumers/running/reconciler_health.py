"""The health of a reconciler in one line."""

from __future__ import annotations

from .pruning import Pruning

ERRORS_SHOWN_MAX = 10


def health_line(objects: int, failing: list[str], pruning: Pruning, unmapped: int) -> str:
    """The line, which begins with OK if nothing fails. ``failing`` has a text for each object that fails."""
    parts = failing[:ERRORS_SHOWN_MAX]
    if len(failing) > ERRORS_SHOWN_MAX:
        parts.append(f"and {len(failing) - ERRORS_SHOWN_MAX} more")
    head = f"{len(failing)} error(s), {objects} object(s)" if failing else f"OK, {objects} object(s)"
    if pruning.failed:
        parts.append(f"prune failed: {pruning.failed}")
        head = head.removeprefix("OK, ")
    elif pruning.waiting_for:
        parts.append(f"pruning waits: {pruning.waiting_for}")
    if unmapped:
        parts.append(f"{unmapped} row(s) of other tables could not be mapped to keys: see the log")
    return f"{head}; {'; '.join(parts)}" if parts else head
