"""Immutable, revisioned in-memory tables with watchable indexes.

The code behind this door is ``statedb.engine``; its modules are private, and their order stands there.

``statedb.testing`` is the second door: a model and strategies for property tests of programs that use this one.
"""

from statedb._version import __version__
from statedb.engine.changes import Change, ChangeBatch, ChangeStream, TablesBatch, TablesStream
from statedb.engine.database import Database, Snapshot
from statedb.engine.dump import load
from statedb.engine.errors import (
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
from statedb.engine.history import Initializer
from statedb.engine.observe import HeldState
from statedb.engine.read import Entry, IndexView, PrefixIndexView, TableView, UniqueIndexView
from statedb.engine.schema import Index, PrefixIndex, Table, UniqueIndex
from statedb.engine.stats import TableStats
from statedb.engine.watch import Watch, WatchSet
from statedb.engine.write import TableWriter, WriteTransaction

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
