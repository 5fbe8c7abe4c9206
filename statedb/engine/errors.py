"""The errors of the engine: one class for each thing that the caller can do about it.

Messages name the table, the key and the remedy. Programs catch the class, people read the message.
"""

from __future__ import annotations


class StateDBError(Exception):
    """Base class of everything that the engine raises on purpose."""


class InvalidTable(StateDBError):
    """A table declaration is wrong: its name, an index, or a row type that is not frozen. Change the class."""


class UnknownTable(StateDBError, LookupError):
    """The table or index is not part of this database or snapshot. Register it, or take a new snapshot."""


class TransactionClosed(StateDBError):
    """The transaction was already committed or aborted. Open a new one with ``db.write``."""


class WrongThread(StateDBError):
    """The transaction was opened in another thread. Other threads may only call ``abort``; open another one here."""


class TableNotOpen(StateDBError):
    """The table was not passed to ``db.write`` when the transaction was opened. Pass it there."""


class TableOwned(StateDBError):
    """Only the owner of the table, named in the message, may write it. Read it, or write it through that owner."""


class WriteTimeout(StateDBError, TimeoutError):
    """Another transaction, named in the message, held a table for longer than ``timeout``. No table stays reserved."""


class NestedWrite(StateDBError):
    """The same thread already holds a table of this write, so waiting for it would be a deadlock."""


class RowNotFound(StateDBError, KeyError):
    """There is no row under this key. Also a ``KeyError``."""

    def __str__(self) -> str:
        """The message as it is: ``KeyError`` would show its repr."""
        return str(self.args[0]) if self.args else ""


class RevisionMismatch(StateDBError):
    """Compare-and-swap failed: the row has changed since you read it. Read it again and decide again."""


class DuplicateKey(StateDBError):
    """Another row has this key of a unique index. Delete or change that row first."""


class InvalidKey(StateDBError, TypeError):
    """A key cannot be stored or ordered: it is unhashable, NaN, or of another type than the other keys of the index."""


class InvalidRow(StateDBError, TypeError):
    """The row has a type that this table does not hold, or ``modify`` changed its primary key."""


class IndexFunctionError(StateDBError):
    """An index function raised, or returned other keys for the same row. It must be pure and total."""


class InitializerError(StateDBError):
    """An initializer of this name is already pending, or an initializer belongs to another table or database."""


class StreamClosed(StateDBError):
    """The change stream was closed. Open a new one with ``db.changes``."""


class InvalidDump(StateDBError, ValueError):
    """The lines are not a dump, are incomplete, or hold a row that its table rejects. Nothing was loaded."""
