"""The errors of the engine: one class for each thing the caller can do about it.

The message names the table, the key and the remedy. Programs catch the class, people read the text.
"""

from __future__ import annotations


class StateDBError(Exception):
    """Base of everything the engine raises on purpose."""


class InvalidTable(StateDBError):
    """A table declaration is wrong: its name, an index, a row type that is not frozen. Change the class."""


class UnknownTable(StateDBError, LookupError):
    """The table or index is not part of this database or snapshot. Register it, or take a new snapshot."""


class TransactionClosed(StateDBError):
    """The transaction was committed or aborted already. Open a new one with ``db.write``."""


class WrongThread(StateDBError):
    """The transaction was opened in another thread. Only ``abort`` may be called from elsewhere; open one here."""


class TableNotOpen(StateDBError):
    """The table was not named when the transaction was opened. Name it in ``db.write``."""


class TableOwned(StateDBError):
    """The table is written by its owner alone, whom the message names. Read it, or write it through that owner."""


class WriteTimeout(StateDBError, TimeoutError):
    """Another transaction held a table for longer than ``timeout``; the message names it. Nothing is left taken."""


class NestedWrite(StateDBError):
    """The same thread already holds a table of this write: waiting for it would never end."""


class RowNotFound(StateDBError, KeyError):
    """You said there is a row under this key, and there is none. It is a ``KeyError`` as well."""

    def __str__(self) -> str:
        """The message itself: ``KeyError`` would quote it."""
        return str(self.args[0]) if self.args else ""


class RevisionMismatch(StateDBError):
    """Compare-and-swap: the row changed since you read it. Read it again, decide again."""


class DuplicateKey(StateDBError):
    """A unique index holds this key for another row. Delete or change that row first."""


class InvalidKey(StateDBError, TypeError):
    """A key cannot be stored or ordered: unhashable, NaN, or of another shape than the index's other keys."""


class InvalidRow(StateDBError, TypeError):
    """The row is of a type that this table does not hold, or a change of a row moved its primary key."""


class IndexFunctionError(StateDBError):
    """An index function raised, or gave other keys for the same row. It must be pure and total."""


class InitializerError(StateDBError):
    """An initializer of this name is pending already, or one is of another table or database: the message says."""


class StreamClosed(StateDBError):
    """The change stream was closed. Open a new one with ``db.changes``."""


class InvalidDump(StateDBError, ValueError):
    """The lines are no dump, or one that was cut off, or hold a row that its table refuses. Nothing was loaded."""
