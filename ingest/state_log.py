"""Lines of the log about the states of one source's tables: one when trouble begins, one when it has ended.

What is said is decided here alone; a source only tells which state each table has. Trouble is `stale` or `failed`.

- Tables that change together share a line. Those of one source change within moments of each other, each when its own
  watch or list notices: so the beginning is told a second after the first of them, and the end when all that went
  together are back, or after half a minute.
- Trouble has ended when it has not come back for five seconds. Until then it is the same trouble: a connection that
  breaks again as soon as it is there is told once, and the line at the end counts the recoveries that did not last.
- Trouble that becomes another within the first second is told as what it became.

The table ``sources`` and the metrics have each state of each table at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import msgspec

from .belief.state import State

SETTLE_S = 1.0
HOLD_S = 5.0
PATIENCE_S = 30.0
_TROUBLE = ("stale", "failed")

_log = logging.getLogger("ingest")


class _Told(msgspec.Struct):
    """What the log has said of a table. Those of the same ``group`` have changed together.

    ``relapses``: how often it was synced since, for less than `HOLD_S`.
    """

    state: State
    since: float
    group: int = 0
    is_late: bool = False
    relapses: int = 0

    @property
    def is_trouble(self) -> bool:
        return self.state in _TROUBLE


class _Pending(msgspec.Struct, frozen=True):
    """A change that is not told yet. ``state`` is ``connecting`` where there is no other state, but an error."""

    state: State
    error: str
    at: float


class StateLog:
    """For one thread at a time. What is pending is told by `write_if_due`, which is to be called when `due_in` says."""

    def __init__(self, source: str, tables: Iterable[str], clock: Callable[[], float]) -> None:
        """All tables are connecting, as every source is at first. ``clock`` returns monotonic seconds."""
        self._source = source
        self._clock = clock
        self._told = {table: _Told("connecting", clock()) for table in tables}
        self._pending: dict[str, _Pending] = {}
        self._groups = 0

    def changed(self, table: str, state: State, error: str) -> None:
        """A table is in this state from now on."""
        told, at = self._told[table], self._clock()
        pending = self._pending.get(table)
        if pending is not None and _is_told_before(told, pending, state, at):
            alike = [name for name in self._pending if self._turn(name) == self._turn(table)]
            self._write([name for name in alike if pending.state != "synced" or self._pending[name].at <= pending.at])
            told = self._told[table]
        elif pending is not None:
            told.relapses += pending.state == "synced"
            at = pending.at if state in _TROUBLE and pending.state in _TROUBLE else at
            del self._pending[table]
        if _is_news(told.state, state):
            self._pending[table] = _Pending(state, error, at)

    def failed(self, table: str, error: str) -> None:
        """A table could not be read, and its state is as before. Told once where it never has been read."""
        told = self._told[table]
        if told.state == "connecting" and not told.is_late and table not in self._pending:
            self._pending[table] = _Pending("connecting", error, self._clock())

    def due_in(self) -> float | None:
        """In how many seconds something is to be told; None: nothing is pending."""
        now = self._clock()
        return min([self._due_at(table) - now for table in self._pending], default=None)

    def write_if_due(self) -> None:
        """Tell what is due."""
        now = self._clock()
        due = [table for table in self._pending if self._due_at(table) <= now]
        if due:
            self._write(due)

    def _turn(self, table: str) -> tuple[State, State]:
        return self._told[table].state, self._pending[table].state

    def _due_at(self, table: str) -> float:
        told, turn = self._told[table], self._pending[table]
        if turn.state == "absent":
            return turn.at  # nobody may call again
        if turn.state != "synced":
            return SETTLE_S + min(
                each.at for name, each in self._pending.items() if self._turn(name) == self._turn(table)
            )
        group = [name for name, each in self._told.items() if each.group == told.group]
        ats = [self._pending[name].at for name in group if name in self._pending]
        hold_s = HOLD_S if told.is_trouble else 0.0
        return max(ats) + hold_s if len(ats) == len(group) else max(min(ats) + PATIENCE_S, turn.at + hold_s)

    def _write(self, tables: Iterable[str]) -> None:
        lines: dict[tuple[State, State], dict[str, _Pending]] = {}
        for table in sorted(tables):
            lines.setdefault(self._turn(table), {})[table] = self._pending[table]
        for (before, after), turns in sorted(lines.items(), key=lambda line: min(turn.at for turn in line[1].values())):
            self._write_line(before, after, turns)
            for table in turns:
                del self._pending[table]

    def _write_line(self, before: State, after: State, turns: dict[str, _Pending]) -> None:
        lasted_s = max(turn.at - self._told[table].since for table, turn in turns.items())
        tables = ", ".join(turns)
        if before == after:
            late_s = self._clock() - min(self._told[table].since for table in turns)
            _log.warning("%s %s: still %s after %.1f s%s", self._source, tables, after, late_s, _why(turns))
            for table in turns:
                self._told[table].is_late = True
            return
        relapses = max(self._told[table].relapses for table in turns) if after == "synced" else 0
        _log.log(
            logging.WARNING if after in _TROUBLE else logging.INFO,
            "%s %s: %s -> %s after %.1f s%s",
            self._source,
            tables,
            before,
            after,
            lasted_s,
            f" (earlier recoveries of less than {HOLD_S:g} s: {relapses})" if relapses else _why(turns),
        )
        self._groups += 1
        for table, turn in turns.items():
            self._told[table] = _Told(after, turn.at, self._groups)


def _is_told_before(told: _Told, pending: _Pending, state: State, now: float) -> bool:
    """Whether what is pending is told before this next state: a beginning that has its end, and an end that lasted."""
    if pending.state == "synced":
        return not told.is_trouble or state == "absent" or now >= pending.at + HOLD_S
    return pending.state in _TROUBLE and not told.is_trouble and state not in _TROUBLE


def _is_news(before: State, after: State) -> bool:
    """Whether it is to be told: a first list is when it has come, and the end of trouble when rows have."""
    return after != before and not (after in ("connecting", "syncing") and before in ("connecting", *_TROUBLE))


def _why(turns: dict[str, _Pending]) -> str:
    reasons = list(dict.fromkeys(turn.error for turn in turns.values() if turn.error))
    if not reasons:
        return ""
    more = f" (and {len(reasons) - 1} more reasons; see 'statedb sources')" if len(reasons) > 1 else ""
    return f": {reasons[0]}{more}"
