"""Immutable, revisioned in-memory tables with watchable indexes.

The public names of the store. The code is in ``statedb.engine``, whose modules are private.

``statedb.testing`` has a model and Hypothesis strategies for property tests of programs that use this package.
"""

from statedb._version import __version__
from statedb.engine.changes import ChangeBatch, TablesBatch
from statedb.engine.database import Database
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
    TableOwned,
    TransactionClosed,
    UnknownTable,
    WriteTimeout,
    WrongThread,
)
from statedb.engine.history import Initializer
from statedb.engine.index_views import IndexView, TextPrefixIndexView, UniqueIndexView
from statedb.engine.load import load
from statedb.engine.network_view import PrefixIndexView
from statedb.engine.origins import HeldState
from statedb.engine.owner import Owner
from statedb.engine.row_change import Change
from statedb.engine.schema import Index, PrefixIndex, Table, TextPrefixIndex, UniqueIndex, UniqueKeysIndex
from statedb.engine.snapshot import Snapshot
from statedb.engine.source import Entry
from statedb.engine.stats import TableStats
from statedb.engine.streams import ChangeStream, TablesStream
from statedb.engine.table_view import TableView
from statedb.engine.transaction import WriteTransaction
from statedb.engine.watch import Watch
from statedb.engine.watch_set import WatchSet
from statedb.engine.writer import TableWriter

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
    "Owner",
    "PrefixIndex",
    "PrefixIndexView",
    "RevisionMismatch",
    "RowNotFound",
    "Snapshot",
    "StateDBError",
    "StreamClosed",
    "Table",
    "TableNotOpen",
    "TableOwned",
    "TableStats",
    "TableView",
    "TableWriter",
    "TablesBatch",
    "TablesStream",
    "TextPrefixIndex",
    "TextPrefixIndexView",
    "TransactionClosed",
    "UniqueIndex",
    "UniqueIndexView",
    "UniqueKeysIndex",
    "UnknownTable",
    "Watch",
    "WatchSet",
    "WriteTimeout",
    "WriteTransaction",
    "WrongThread",
    "__version__",
    "load",
]
