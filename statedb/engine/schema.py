"""Declarations of tables and indexes: a class for each table, a constant for each index. Knows no rows, no database."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from copy import copy
from enum import Enum
from types import new_class
from typing import Any, ClassVar, Generic, Self, TypeVar, cast, get_args, get_origin

from .errors import IndexFunctionError, InvalidTable
from .networks import Network, pack

K = TypeVar("K")
R = TypeVar("R")
N = TypeVar("N", bound=Network)
T = TypeVar("T", str, bytes)

Keys = tuple[Any, ...]
"""The keys of one row in one index: none, one or several (Any: the types are the user's)."""

_TABLE_NAME = re.compile(r"[a-z][a-z0-9_\-]{0,30}")
_VALUE_TYPES = (str, bytes, int, float, complex, bool, tuple, frozenset, Enum)


class AnyIndex(Generic[K, R]):
    """What all indexes share: a pure function from a row to its keys, and a position in one table.

    ``name``, ``table`` and ``position`` are set when the table class is created. The primary index has position 0.
    """

    unique: ClassVar[bool] = False
    name: str = ""
    table: type[Table[Any, R]]
    position: int = -1

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the name of the attribute. A second name is reported by the table class: errors raised here would be
        wrapped.
        """
        self.name = self.name or name

    def __repr__(self) -> str:
        """``<Index services.by_address>``."""
        table = getattr(self, "table", None)
        return f"<{type(self).__name__} {table.name + '.' if table else ''}{self.name}>"

    def keys_of(self, row: R) -> Keys:
        """The keys of a row in this index, normalised as stored."""
        raise NotImplementedError

    def extractor(self) -> tuple[Callable[[R], Any], Callable[[Any], Keys]]:
        """Two functions: one returns a row's keys, the other converts its result to a tuple if it is not one."""
        return self.keys_of, tuple

    def normal(self, key: Any) -> Any:
        """A key given by a caller in its stored form."""
        return key


class UniqueIndex(AnyIndex[K, R]):
    """At most one row per key. The function returns the key of a row, or None if the row is not in this index.

    The primary index of a table is a UniqueIndex in which every row must have a key.
    """

    unique: ClassVar[bool] = True

    def __init__(self, key: Callable[[R], K | None]) -> None:
        """``key`` must be pure, total and thread-safe."""
        self.key = key

    def __call__(self, row: R) -> K:
        """The key of a row. Raises IndexFunctionError if the row has none."""
        key = self.key(row)
        if key is None:
            raise IndexFunctionError(f"index {self.name!r} has no key for {row!r}")
        return key

    def keys_of(self, row: R) -> Keys:
        """One key or none."""
        key = self.key(row)
        return () if key is None else (key,)


class UniqueKeysIndex(UniqueIndex[K, R]):
    """A unique index in which a row may have several keys: at most one row per key. Never a primary index.

    The function returns an iterable of keys, as for `Index`. An example is the name and the aliases of a host.
    """

    def __init__(self, keys: Callable[[R], Iterable[K]]) -> None:
        """``keys`` must be pure, total and thread-safe. A tuple is the cheapest result. Duplicates count once."""
        self._keys = Index[K, R](keys)

    def __call__(self, row: R) -> K:
        """Raises IndexFunctionError: a row may have several keys or none."""
        raise IndexFunctionError(f"index {self.name!r} may have several keys for {row!r}; call keys_of(row)")

    def keys_of(self, row: R) -> Keys:
        """The keys as a tuple."""
        return self._keys.keys_of(row)

    def extractor(self) -> tuple[Callable[[R], Any], Callable[[Any], Keys]]:
        """As for `Index`."""
        return self._keys.extractor()


class Index(AnyIndex[K, R]):
    """Any number of rows per key, any number of keys per row. The function returns an iterable of keys."""

    def __init__(self, keys: Callable[[R], Iterable[K]]) -> None:
        """``keys`` must be pure, total and thread-safe. A tuple is the cheapest result. Duplicates count once."""
        self.keys = keys

    def keys_of(self, row: R) -> Keys:
        """The keys as a tuple."""
        keys = self.keys(row)
        return keys if type(keys) is tuple else self._tuple_of(keys)

    def extractor(self) -> tuple[Callable[[R], Any], Callable[[Any], Keys]]:
        """The user's own function, called directly: most return a tuple already."""
        return self.keys, self._tuple_of

    def _tuple_of(self, keys: Any) -> Keys:
        if isinstance(keys, (str, bytes)):
            raise IndexFunctionError(f"the function returned {keys!r}, which is one key; give an iterable, ({keys!r},)")
        return tuple(keys)


class TextPrefixIndex(Index[T, R]):
    """An index of text or bytes whose keys are prefixes of what is looked up.

    The view also finds the rows under the longest key that is a prefix of a text, and under all such keys. Examples are
    routes by the path of a request, and rules by the name of an interface. Otherwise it is an `Index`.
    """


class PrefixIndex(AnyIndex[N, R]):
    """An index of IP networks: longest prefix match of an address, all covering networks, all networks within one.

    The function returns an iterable of networks or addresses: text, 4 or 16 packed bytes, or ipaddress objects. Host
    bits are cleared. IPv4 and IPv6 are separate: ``::/0`` covers no IPv4 address.
    """

    def __init__(self, networks: Callable[[R], Iterable[N]]) -> None:
        """``networks`` must be pure, total and thread-safe."""
        self.networks = networks

    def keys_of(self, row: R) -> Keys:
        """The packed networks."""
        return self.packed(self.networks(row))

    def packed(self, networks: Iterable[N]) -> Keys:
        """The packed networks of what the function gave."""
        if type(networks) is tuple and len(networks) == 1:  # most: 0.5 us, and 0.9 us by the general form
            return (pack(networks[0]),)
        if isinstance(networks, (str, bytes)):
            raise IndexFunctionError(
                f"the function returned {networks!r}, which is one network; give an iterable, ({networks!r},)"
            )
        return tuple([pack(network) for network in networks])

    def normal(self, key: Any) -> bytes:
        """The packed network. Raises InvalidKey."""
        return pack(key)


def _is_frozen(kind: type) -> bool:
    """Whether values of this class are immutable, as far as the class can tell."""
    config = getattr(kind, "__struct_config__", None)
    if config is not None:
        return bool(config.frozen)
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is not None:
        return bool(parameters.frozen)
    if hasattr(kind, "__attrs_attrs__"):
        return "frozen" in getattr(kind.__setattr__, "__name__", "")
    return issubclass(kind, _VALUE_TYPES)


def check_row_type(table: str, kind: type) -> None:
    """Reject row types that can be changed in place. Raises InvalidTable."""
    if not _is_frozen(kind):
        raise InvalidTable(
            f"table {table!r}: rows of type {kind.__name__} can be changed in place; use a frozen msgspec Struct, "
            "frozen dataclass, frozen attrs class, NamedTuple, str, int or tuple"
        )


def _row_type_of(bases: Iterable[Any]) -> Any:
    """``R`` of ``Table[K, R]`` among the bases. None if it is not given."""
    for base in bases:
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, Table):
            return get_args(base)[1]
    return None


class Table(Generic[K, R]):
    """The declaration of a table: its name, its row type, its indexes. Never instantiated.

    Subclass it with the key and row types, and give it a ``name`` and a ``primary`` index. Every other index attribute
    is a secondary index. Names match ``[a-z][a-z0-9_-]{0,30}``. Raises InvalidTable at class creation.

    >>> class Words(Table[str, str], name="words"):
    ...     primary = UniqueIndex[str, str](lambda word: word)
    ...     by_letter = Index[str, str](lambda word: tuple(word))
    >>> Words.name, list(Words.indexes)
    ('words', ['primary', 'by_letter'])
    """

    # Not a ClassVar, so that both type checkers compare a subclass's primary with Table[K, R].
    primary: UniqueIndex[K, R]
    name: ClassVar[str] = ""
    indexes: ClassVar[dict[str, AnyIndex[Any, Any]]] = {}
    row_type: ClassVar[Any] = None

    def __init__(self) -> None:
        """Tables are used as classes."""
        raise TypeError(
            f"{type(self).__name__} is a declaration; use the class itself, as in snapshot[{type(self).__name__}]"
        )

    def __init_subclass__(cls, *, name: str = "", **options: Any) -> None:
        """Check the declaration and bind its indexes."""
        super().__init_subclass__(**options)
        if not _TABLE_NAME.fullmatch(name):
            raise InvalidTable(
                f"table name {name!r} of {cls.__name__} is not valid; use a lower-case letter, then at most 30 "
                'lower-case letters, digits, _ or -, as in class Nodes(Table[...], name="nodes")'
            )
        if isinstance(cls.name, str) and cls.name:
            raise InvalidTable(f"{cls.__name__} inherits from table {cls.name!r}; derive from Table[...] itself")
        cls._check_attributes()
        cls.name = name
        cls.row_type = _row_type_of(cls.__dict__.get("__orig_bases__", ()))
        if isinstance(cls.row_type, type):
            check_row_type(name, cls.row_type)
        primary = cls.__dict__.get("primary")
        if not isinstance(primary, UniqueIndex) or isinstance(primary, UniqueKeysIndex):
            raise InvalidTable(
                f"table {name!r} needs a unique primary index: primary = UniqueIndex[K, R](lambda row: ...)"
            )
        secondary = {k: v for k, v in vars(cls).items() if isinstance(v, AnyIndex) and v is not primary}
        cls.indexes = {"primary": primary, **secondary}
        for position, index in enumerate(cls.indexes.values()):
            cls._bind(index, position)

    @classmethod
    def _check_attributes(cls) -> None:
        """Reject indexes with the name of an attribute of Table, and those of another class. Raises InvalidTable."""
        for attribute in dir(cls):
            index = inspect.getattr_static(cls, attribute)
            if not isinstance(index, AnyIndex):
                continue
            if attribute != "primary" and hasattr(Table, attribute):
                raise InvalidTable(
                    f"{cls.__name__}: an index cannot be called {attribute!r}, because every table has an attribute "
                    "of that name; choose another name"
                )
            if attribute not in cls.__dict__ or index.name != attribute or hasattr(index, "table"):
                raise InvalidTable(
                    f"{cls.__name__}: index {attribute!r} belongs to another table or class, or has another name as "
                    "well; an index object belongs to one table: make a new one in the class itself"
                )

    @classmethod
    def _bind(cls, index: AnyIndex[Any, Any], position: int) -> None:
        arguments = get_args(getattr(index, "__orig_class__", None))
        kind = arguments[1] if len(arguments) == 2 else None
        if isinstance(kind, type) and isinstance(cls.row_type, type) and kind is not cls.row_type:
            raise InvalidTable(
                f"index {index.name!r} of table {cls.name!r} is over {kind.__name__}, "
                f"but the table holds {cls.row_type.__name__}"
            )
        index.table = cls
        index.position = position

    @classmethod
    def named(cls, name: str) -> type[Self]:
        """Another table with the same indexes and rows under another name, for example one for each cluster.

        Each call makes a new table, so keep it. ``db.table(name)`` finds it once it is registered. Raises InvalidTable.

        >>> class Words(Table[str, str], name="words"):
        ...     primary = UniqueIndex[str, str](lambda word: word)
        >>> German = Words.named("words-german")
        >>> German.name, German.primary is Words.primary
        ('words-german', False)
        """
        if not cls.name:
            raise InvalidTable("Table itself has no rows and no indexes; derive a class from Table[K, R] first")
        indexes = {attribute: copy(index) for attribute, index in cls.indexes.items()}
        for index in indexes.values():
            del index.table
        body: dict[str, Any] = {**indexes, "__doc__": cls.__doc__, "__module__": cls.__module__}
        body["__orig_bases__"] = cls.__dict__.get("__orig_bases__", ())
        return cast("type[Self]", new_class(cls.__name__, (Table,), {"name": name}, lambda space: space.update(body)))

    @classmethod
    def key_of(cls, row: R) -> K:
        """The primary key of a row."""
        return cls.primary(row)
