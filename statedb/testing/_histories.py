"""Histories of a database as data: steps in transactions, which can be played on the engine and on the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from statedb.engine.errors import StateDBError
from statedb.engine.schema import Table

AnyTable = type[Table[Any, Any]]
Kind = Literal[
    "insert",
    "insert new",
    "force",
    "replace",
    "replace at",
    "modify",
    "delete",
    "delete at",
    "delete from",
    "clear",
    "staged",
]
Ending = Literal["commit", "abort", "raise", "alone"]


class Step(NamedTuple):
    """One write. ``row`` is the row to write, or the row whose key is deleted. ``clear`` ignores it.

    ``delete from`` deletes all rows from that key on. ``staged`` writes nothing, and reads the changes so far. The
    kinds with ``at`` pass the revision of the stored row minus ``behind``, so 0 makes them succeed.
    """

    table: AnyTable
    kind: Kind
    row: Any
    behind: int = 0


class Writes(NamedTuple):
    """One transaction: its steps, and how it ends. ``alone`` means a transaction for each step."""

    tables: tuple[AnyTable, ...]
    steps: tuple[Step, ...]
    ending: Ending


class Broken(Exception):
    """Raised within a block that should end with an exception."""


def perform(step: Step, txn: Any) -> Any:
    """Do one step in an open transaction of an engine or a model. Returns its result, or the class of its error."""
    writer = txn[step.table]
    key = step.table.key_of(step.row)
    entry = writer.entry(key)
    at = (entry.revision if entry is not None else 0) - step.behind
    try:
        match step.kind:
            case "insert":
                return writer.insert(step.row)
            case "force":
                return writer.insert(step.row, force=True)
            case "replace":
                return writer.replace(step.row)
            case "replace at":
                return writer.replace(step.row, at=at)
            case "modify":
                return writer.modify(key, lambda _: step.row)
            case "delete":
                return writer.delete(key)
            case "delete from":
                return writer.delete_all(writer.range(key))
            case "insert new":
                return writer.insert_new(step.row)
            case "delete at":
                return writer.delete(key, at=at)
            case "clear":
                return writer.clear()
            case "staged":
                return writer.staged()
    except StateDBError as error:
        return type(error)


def play(history: Iterable[Writes], database: Any) -> list[Any]:
    """Play a history on a database or a model. Returns the outcome of each step."""
    return [outcome for writes in history for outcome in _play_one(writes, database)]


def perform_alone(step: Step, database: Any) -> Any:
    """Do one step in a transaction of its own, by ``Database.insert`` or ``Database.delete`` if it is such a step."""
    try:
        if step.kind == "insert":
            return database.insert(step.table, step.row)
        if step.kind == "delete":
            return database.delete(step.table, step.table.key_of(step.row))
    except StateDBError as error:
        return type(error)
    with database.write(step.table) as txn:
        return perform(step, txn)


def _play_one(writes: Writes, database: Any) -> Sequence[Any]:
    if writes.ending == "alone":
        return [perform_alone(step, database) for step in writes.steps]
    outcomes: list[Any] = []
    try:
        with database.write(*writes.tables) as txn:
            outcomes += [perform(step, txn) for step in writes.steps]
            if writes.ending == "raise":
                raise Broken
            if writes.ending == "abort":
                txn.abort()
    except Broken:
        pass
    return outcomes
