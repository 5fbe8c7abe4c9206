"""Lines of the log about the states of one source's tables: one when trouble begins, one when it has ended.

Tables that change together share a line. Those of one source change within moments of each other, each when its own
watch or list notices: so the beginning is told a second after the first of them, and the end when all that went
together are back, or after half a minute. The table ``sources`` and the metrics have each table at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import msgspec

from .belief.state import State

SETTLE_S = 1.0
PATIENCE_S = 30.0

_log = logging.getLogger("ingest")


class _Told(msgspec.Struct):
    """What the log has said of a table. Those of the same ``group`` have changed together."""

    state: State
    since: float
    group: int = 0
    is_late: bool = False


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
        pending = self._pending.get(table)
        if pending is not None and pending.state != self._told[table].state:
            self.write()
        self._pending.pop(table, None)  # it was late for less than a second
        before = self._told[table].state
        if state == before or (before, state) == ("connecting", "syncing"):
            return  # a first list that goes as it should is told when it has come
        self._pending[table] = _Pending(state, error, self._clock())

    def failed(self, table: str, error: str) -> None:
        """A table could not be read, and its state is as before. Told once where it never has been read."""
        told = self._told[table]
        if told.state == "connecting" and not told.is_late and table not in self._pending:
            self._pending[table] = _Pending("connecting", error, self._clock())

    def due_in(self) -> float | None:
        """In how many seconds something is to be told; None: nothing is pending."""
        return min([self._due_in(table, turn) for table, turn in self._pending.items()], default=None)

    def write_if_due(self) -> None:
        """Tell what is pending, if a part of it is due."""
        due_in = self.due_in()
        if due_in is not None and due_in <= 0:
            self.write()

    def write(self) -> None:
        """Tell what is pending, now."""
        lines: dict[tuple[State, State], dict[str, _Pending]] = {}
        for table, turn in sorted(self._pending.items()):
            lines.setdefault((self._told[table].state, turn.state), {})[table] = turn
        self._pending = {}
        for (before, after), turns in sorted(lines.items(), key=lambda line: min(turn.at for turn in line[1].values())):
            self._write_line(before, after, turns)

    def _due_in(self, table: str, turn: _Pending) -> float:
        now = self._clock()
        if turn.state == "absent":
            return 0.0  # nobody may call again
        if turn.state != "synced":
            return turn.at + SETTLE_S - now
        group = self._told[table].group
        is_whole = all(told.group != group or name in self._pending for name, told in self._told.items())
        return 0.0 if is_whole else turn.at + PATIENCE_S - now

    def _write_line(self, before: State, after: State, turns: dict[str, _Pending]) -> None:
        lasted_s = max(turn.at - self._told[table].since for table, turn in turns.items())
        reasons = list(dict.fromkeys(turn.error for turn in turns.values() if turn.error))
        why = f": {reasons[0]}" if reasons else ""
        if len(reasons) > 1:
            why += f" (and {len(reasons) - 1} more reasons; see 'statedb sources')"
        tables = ", ".join(turns)
        if before == after:
            _log.warning("%s %s: still %s after %.1f s%s", self._source, tables, after, self._now(turns), why)
            for table in turns:
                self._told[table].is_late = True
            return
        level = logging.WARNING if after in ("stale", "failed") else logging.INFO
        _log.log(level, "%s %s: %s -> %s after %.1f s%s", self._source, tables, before, after, lasted_s, why)
        self._groups += 1
        for table, turn in turns.items():
            self._told[table] = _Told(after, turn.at, self._groups)

    def _now(self, turns: dict[str, _Pending]) -> float:
        """For how long the first of these tables has been in its state."""
        return self._clock() - min(self._told[table].since for table in turns)
