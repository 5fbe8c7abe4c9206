"""Immutable, revisioned in-memory tables with watchable indexes.

The layers behind this door, each knowing only those above it:

    _errors _networks _keys     what goes wrong; what a key may be
    _schema                     tables and indexes as declarations
    _history                    commits, pins, and what lies between two of them
    _watch _order _reserve      who waits for what; keys in order; who may write
    _store                      the newest state of one table
    _read _stage _commit _write views; transactions
    _changes _dump              streams; JSON lines and back
    _stats _observe             numbers for operators; who holds old states
    _database                   the database itself

``statedb.testing`` is the second door: a model and strategies for property tests of programs that use this one.
"""

from ._changes import Change, ChangeBatch, ChangeStream, TablesBatch, TablesStream
from ._database import Database, Snapshot
from ._dump import load
from ._errors import (
    DuplicateKey,
    IndexFunctionError,
    InitializerError,
    InvalidDump,
    InvalidKey,
    InvalidRow,
    InvalidTable,
    NestedWrite,
    RevisionMismatch,
    RowNotFound,
    StateDBError,
    StreamClosed,
    TableNotOpen,
    TransactionClosed,
    UnknownTable,
    WrongThread,
)
from ._history import Initializer
from ._observe import HeldState
from ._read import Entry, IndexView, PrefixIndexView, TableView, UniqueIndexView
from ._schema import Index, PrefixIndex, Table, UniqueIndex
from ._stats import TableStats
from ._version import __version__
from ._watch import Watch, WatchSet
from ._write import TableWriter, WriteTransaction

__all__ = [
    "Change",
    "ChangeBatch",
    "ChangeStream",
    "Database",
    "DuplicateKey",
    "Entry",
    "HeldState",
    "Index",
    "IndexFunctionError",
    "IndexView",
    "Initializer",
    "InitializerError",
    "InvalidDump",
    "InvalidKey",
    "InvalidRow",
    "InvalidTable",
    "NestedWrite",
    "PrefixIndex",
    "PrefixIndexView",
    "RevisionMismatch",
    "RowNotFound",
    "Snapshot",
    "StateDBError",
    "StreamClosed",
    "Table",
    "TableNotOpen",
    "TableStats",
    "TableView",
    "TableWriter",
    "TablesBatch",
    "TablesStream",
    "TransactionClosed",
    "UniqueIndex",
    "UniqueIndexView",
    "UnknownTable",
    "Watch",
    "WatchSet",
    "WriteTransaction",
    "WrongThread",
    "__version__",
    "load",
]
