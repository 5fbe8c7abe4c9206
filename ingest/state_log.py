"""Log lines about the states of one source's tables: one line when a problem begins, and one when it has ended.

Only this module decides what is logged; a source reports the state of each table. A problem is `stale` or `failed`.

- Tables that change together share a line. The tables of a source change within moments of each other, each when its
  own watch or list notices the problem. So the beginning is logged one second after the first change. The end is logged
  when all tables of that line are back, or after half a minute.
- A problem has ended when it has not returned for five seconds. A connection that breaks again and again is therefore
  logged once, and the line at the end counts the recoveries that did not last.
- A problem that turns into another one within the first second is logged as the second one.

The table ``sources`` and the metrics show each state of each table at once.
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
    """The last state of a table that was logged. Tables of the same ``group`` changed together.

    ``relapses``: how often the table was synced since, for less than `HOLD_S`.
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
    """A change that is not logged yet. ``state`` is ``connecting`` where only the error is new."""

    state: State
    error: str
    at: float


class StateLog:
    """Logs changes of state. For one thread at a time. The owner calls `write_if_due` after `due_in` seconds."""

    def __init__(self, source: str, tables: Iterable[str], clock: Callable[[], float]) -> None:
        """All tables are connecting at first. ``clock`` returns monotonic seconds."""
        self._source = source
        self._clock = clock
        self._told = {table: _Told("connecting", clock()) for table in tables}
        self._pending: dict[str, _Pending] = {}
        self._groups = 0

    def changed(self, table: str, state: State, error: str) -> None:
        """A table has this state from now on."""
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
        """A table could not be read, and its state is unchanged. Logged once if it was never read before."""
        told = self._told[table]
        if told.state == "connecting" and not told.is_late and table not in self._pending:
            self._pending[table] = _Pending("connecting", error, self._clock())

    def due_in(self) -> float | None:
        """The seconds until something is to be logged; None if nothing is pending."""
        now = self._clock()
        return min([self._due_at(table) - now for table in self._pending], default=None)

    def write_if_due(self) -> None:
        """Log the changes that are due."""
        now = self._clock()
        due = [table for table in self._pending if self._due_at(table) <= now]
        if due:
            self._write(due)

    def write_all(self) -> None:
        """Log all changes now, because nobody will call again."""
        self._write(list(self._pending))

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
    """Whether a pending change is logged before the next one: a beginning with its end, or an end that lasted."""
    if pending.state == "synced":
        return not told.is_trouble or state == "absent" or now >= pending.at + HOLD_S
    return pending.state in _TROUBLE and not told.is_trouble and state not in _TROUBLE


def _is_news(before: State, after: State) -> bool:
    """Whether to log this change: of a first list only its completion, of a problem its end when rows have come."""
    return after != before and not (after in ("connecting", "syncing") and before in ("connecting", *_TROUBLE))


def _why(turns: dict[str, _Pending]) -> str:
    reasons = list(dict.fromkeys(turn.error for turn in turns.values() if turn.error))
    if not reasons:
        return ""
    more = f" (and {len(reasons) - 1} more reasons; see 'statedb sources')" if len(reasons) > 1 else ""
    return f": {reasons[0]}{more}"
