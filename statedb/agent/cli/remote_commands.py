"""The commands that query a running agent and print its answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..client.remote import Parameters, Remote
from ..errors import BadRequest
from ..files import write_atomically
from ..wording import escaped, printable
from . import output
from .columns import DEFAULT_COLUMNS, Column, select_columns
from .output import FOR_PEOPLE, ChangePrinter, Format
from .programs import for_programs
from .progress import busy, counted
from .selection import Selection
from .waiting import wait

_LISTS = ("missing", "stale")
_IN_ORDER = ("synced", "absent")


class RemoteCommands:
    """The commands for one agent, with the options for their output. All methods raise AgentError."""

    def __init__(
        self,
        remote: Remote,
        *,
        output: Format,
        columns: str | None = None,
        where: Sequence[str] = (),
        sort: str | None = None,
    ) -> None:
        """``remote`` is the agent. The other arguments are values of the options of these names. Raises BadRequest."""
        self._remote = remote
        self._output: Format = output
        self._wanted = columns
        self._selection = Selection(where, sort)

    def tables(self) -> None:
        """Print the tables."""
        found = self._remote.json("/tables")["tables"]
        if self._output == "name":
            output.names([[table["name"]] for table in found])
            return
        if self._output in FOR_PEOPLE:
            found = [{**table, "indexes": [index["name"] for index in table["indexes"]]} for table in found]
        fields = list(found[0]) if found else []
        self._selection.check("tables", fields)
        self._print(select_columns("tables", self._wanted, fields), self._selection.of(found))

    def health(self, *, ready: bool, fresh: bool) -> int:
        """Print in one line whether the agent works, is ready, or is ready with all tables synced. Returns 0 if so,
        otherwise 1.
        """
        found = self._remote.probe("/readyz" if ready or fresh else "/healthz")
        status = found.get("status", "failed")
        if fresh and status == "ready":
            status = "stale" if found["stale"] else "fresh"
        parts = [found.get("error", ""), *(part for name in _LISTS for part in _grouped(found.get(name, ())))]
        output.say(printable(": ".join(filter(None, [status, "; ".join(filter(None, parts))]))))
        return 0 if status in ("ok", "ready", "fresh") else 1

    def show(self, table: str, limit: int | None) -> None:
        """Print all rows, or the first ones."""
        self._rows(table, [] if limit is None else [("limit", str(limit))])

    def get(self, table: str, key: tuple[str, ...]) -> None:
        """Print one row. For programs it is a single value and not a list."""
        self._rows(table, _each("key", key), alone=True)

    def list(self, table: str, index: str, key: tuple[str, ...], match: str | None) -> None:
        """Print the rows of a key of an index."""
        self._rows(table, [("index", index), *_each("key", key), *([] if match is None else [("match", match)])])

    def prefix(self, table: str, index: str | None, key: tuple[str, ...]) -> None:
        """Print the rows of a prefix."""
        self._rows(table, [*([] if index is None else [("index", index)]), *_each("prefix", key)])

    def watch(self, table: str, key: tuple[str, ...], *, once: bool) -> None:
        """Print each change from now on; with ``once``, only those of the first transaction."""
        self._follow(table, key, rows_first=False, once=once)

    def changes(self, table: str) -> None:
        """Print all rows, then each change."""
        self._follow(table, (), rows_first=True, once=False)

    def accept(self, table: str | None, cluster: str | None) -> None:
        """Carry out the deletes that the sources withhold."""
        parameters = [(name, each) for name, each in (("table", table), ("cluster", cluster)) if each is not None]
        accepted = self._remote.json("/sources/accept", parameters, "POST")["accepted"]
        if self._output not in FOR_PEOPLE:
            output.value(self._output, accepted)
            return
        for each in accepted:
            output.say(f"accepted {each['backend']} of cluster {each['cluster']}: {', '.join(each['tables'])}")

    def sources(self) -> int:
        """Print the states of the sources. Returns 1 if one is not in order or withholds deletes, otherwise 0."""
        self._rows("sources", [])
        rows = self._remote.json("/tables/sources")["rows"]
        return 1 if any(row["state"] not in _IN_ORDER or row["withheld_deletes"] for row in rows) else 0

    def consumers(self) -> int:
        """Print the consumers. Returns 1 if one is not ready or not in order, otherwise 0."""
        found = self._remote.json("/consumers")["consumers"]
        if self._output == "name":
            output.names([[each["consumer"]] for each in found])
        else:
            fields = ["consumer", "ready", "queue", "set_aside", "health"]
            self._selection.check("consumers", fields)
            self._print(select_columns("consumers", self._wanted, fields), self._selection.of(found))
        return 1 if any(not each["ready"] or not each["health"].startswith("OK") for each in found) else 0

    def wait(self, table: str, key: tuple[str, ...], wanted: str | None, timeout_s: float) -> int:
        """Wait for a condition on a table. Returns 1 after the timeout, otherwise 0."""
        if wait(self._remote, table, key, wanted, timeout_s):
            return 0
        awaited = wanted or ("present" if key else "filled")
        output.note(f"{' '.join([table, *key])}: not {awaited} within {timeout_s:g} s{self._rows_now(table, awaited)}")
        return 1

    def _rows_now(self, table: str, awaited: str) -> str:
        if not awaited.startswith("rows="):
            return ""
        return f"; it has {self._remote.json(_path('tables', table), [('limit', '1')])['total']}"

    def top(self, *, once: bool) -> None:
        """Show rates until Ctrl-C."""
        from .top import top  # start-up time: rich

        top(self._remote, once=once)

    def dump(self, path: str | None) -> None:
        """Write all rows as JSON lines."""
        if path is None:
            for line in self._remote.dump():
                sys.stdout.write(escaped(line.decode()))
            return
        if Path(path).is_dir():
            raise BadRequest(f"{path or '.'} is a folder; name a file to write to")
        try:
            size = write_atomically(Path(path), counted(self._remote.dump(), "rows written"))
        except OSError as error:
            raise BadRequest(f"{path} cannot be written: {error.strerror}") from None
        output.note(f"{size} bytes written to {path}")

    def compare(self, path: str, ignore: frozenset[str], settle_s: float, timeout_s: float) -> int:
        """Print how another configuration would differ. Returns 1 if it would, otherwise 0. Also raises ConfigError."""
        from ..process.comparison import compare  # start-up time: these import every source
        from ..process.config import load_config  # start-up time

        config = load_config(path)
        self._remote.probe("/healthz")  # fails at once when there is no agent
        with busy(f"comparing; at most {timeout_s:g} s"):
            found = compare(self._remote, config, settle_s=settle_s, timeout_s=timeout_s, ignore=ignore)
        output.comparison(self._output, found)
        return 1 if found.differences or found.unsettled else 0

    def _rows(self, table: str, parameters: Parameters, *, alone: bool = False) -> None:
        names = [("keys", "yes")] if self._output == "name" else []
        with busy(f"reading table {table}"):
            answer = self._remote.json(_path("tables", table), [*parameters, *names])
        found = answer["rows"]
        if self._selection:
            self._selection.check(table, self._fields(table))
        if self._output == "name":
            pairs = zip(answer["keys"], found)
            output.names([key for key, row in pairs if self._selection.holds(row)])
            return
        if alone and self._output not in FOR_PEOPLE and self._wanted is None:
            output.value(self._output, for_programs(table, found[0]))
            return
        self._print(self._columns(table), self._selection.of(found), table)
        if answer["more"]:
            output.note(f"the table has more rows than these {len(found)}; raise --limit to see them")

    def _print(self, columns: Sequence[Column], found: Sequence[Any], table: str = "") -> None:
        output.rows(self._output, columns, found, selected=self._wanted is not None, table=table)
        if not found and self._output in FOR_PEOPLE:
            output.note("nothing to show")

    def _columns(self, table: str) -> Any:
        """The columns to print. The fields of the table are requested from the agent only if needed."""
        if self._output not in FOR_PEOPLE and self._wanted is None:
            return ()
        if self._wanted is None and table in DEFAULT_COLUMNS:
            return DEFAULT_COLUMNS[table]
        return select_columns(table, self._wanted, self._fields(table))

    def _fields(self, table: str) -> Sequence[str]:
        """The fields of the rows of a table. Empty for an unknown table."""
        for each in self._remote.json("/tables")["tables"]:
            if each["name"] == table:
                parts = each["key"] if "key" not in each["key"] else []  # a key with one part is a field of the row
                return [*parts, *each["fields"], "revision"]
        return []

    def _follow(self, table: str, key: tuple[str, ...], *, rows_first: bool, once: bool) -> None:
        live = ChangePrinter(self._output, table, self._columns(table), selected=self._wanted is not None)
        begun, shown = rows_first, 0
        for line in self._remote.lines(_path("changes", table), _each("key", key)):
            match line["event"]:
                case "put" | "delete" as event if begun:
                    live.change(event, line["revision"], line["row"])
                    shown += 1
                case "commit":
                    live.flush()
                    if not begun:
                        output.note(f"watching {' '.join([table, *key])} from revision {line['revision']}")
                    begun = True
                    if once and shown:
                        return
                case _:
                    pass


def _grouped(found: Sequence[dict[str, str]]) -> list[str]:
    """A text for each entry. Tables with equal entries share one text."""
    tables: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for each in found:
        same = tuple((name, value) for name, value in each.items() if name != "table")
        tables.setdefault(same, []).extend([each["table"]] if "table" in each else [])
    return [_thing(", ".join(names), **dict(same)) for same, names in tables.items()]


def _thing(
    table: str, *, cluster: str = "", backend: str = "", consumer: str = "", state: str = "", error: str = ""
) -> str:
    """``nodes, endpoints from kvstore of cluster1: stale: connection refused``, or ``consumer publisher: ...``."""
    who = f"consumer {consumer}" if consumer else f"{table} from {backend} of {cluster}" if backend else table
    return ": ".join(filter(None, [who, state, error]))


def _path(what: str, table: str) -> str:
    return f"/{what}/{quote(table, safe='')}"


def _each(name: str, texts: tuple[str, ...]) -> Any:
    return [(name, text) for text in texts]
