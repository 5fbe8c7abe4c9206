"""Immutable, revisioned in-memory tables with watchable indexes."""

from ._errors import (
    DuplicateKey as DuplicateKey,
    IndexFunctionError as IndexFunctionError,
    InitializerError as InitializerError,
    InvalidKey as InvalidKey,
    InvalidRow as InvalidRow,
    InvalidTable as InvalidTable,
    NestedWrite as NestedWrite,
    RevisionMismatch as RevisionMismatch,
    RowNotFound as RowNotFound,
    StateDBError as StateDBError,
    StreamClosed as StreamClosed,
    TableNotOpen as TableNotOpen,
    TransactionClosed as TransactionClosed,
    UnknownTable as UnknownTable,
)
from ._schema import (
    Index as Index,
    PrefixIndex as PrefixIndex,
    Table as Table,
    UniqueIndex as UniqueIndex,
)
from ._version import __version__ as __version__
