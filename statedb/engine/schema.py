"""Tables and indexes as declarations: a class per table, a constant per index. Knows no rows and no database."""

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
"""The keys of one row in one index, none, one or several (Any: keys are the user's)."""

_TABLE_NAME = re.compile(r"[a-z][a-z0-9_\-]{0,30}")
_VALUE_TYPES = (str, bytes, int, float, complex, bool, tuple, frozenset, Enum)


class AnyIndex(Generic[K, R]):
    """What all indexes share: a pure function from a row to its keys, and a place in one table.

    ``name``, ``table`` and ``position`` are set when the table class is created; the primary stands at 0.
    """

    unique: ClassVar[bool] = False
    name: str = ""
    table: type[Table[Any, R]]
    position: int = -1

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the attribute's name. Where it has one, the table says what is wrong: errors here are wrapped."""
        self.name = self.name or name

    def __repr__(self) -> str:
        """``<Index services.by_address>``."""
        table = getattr(self, "table", None)
        return f"<{type(self).__name__} {table.name + '.' if table else ''}{self.name}>"

    def keys_of(self, row: R) -> Keys:
        """The normalised keys of a row in this index, as stored."""
        raise NotImplementedError

    def extractor(self) -> tuple[Callable[[R], Any], Callable[[Any], Keys]]:
        """Two functions: what takes a row's keys, and what makes a tuple of its answer where it is none."""
        return self.keys_of, tuple

    def normal(self, key: Any) -> Any:
        """A key from a caller as it is stored."""
        return key


class UniqueIndex(AnyIndex[K, R]):
    """At most one row per key. The function gives the row's key, or None: the row is not in this index.

    The primary index of a table is one, and there every row must have a key.
    """

    unique: ClassVar[bool] = True

    def __init__(self, key: Callable[[R], K | None]) -> None:
        """``key`` must be pure, total and thread-safe."""
        self.key = key

    def __call__(self, row: R) -> K:
        """The key of a row. Raises IndexFunctionError where the row has none."""
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

    The function gives an iterable of keys, as that of `Index` does: the names and aliases of a host, say.
    """

    def __init__(self, keys: Callable[[R], Iterable[K]]) -> None:
        """``keys`` must be pure, total and thread-safe; a tuple is the cheapest answer. Duplicates count once."""
        self._keys = Index[K, R](keys)

    def __call__(self, row: R) -> K:
        """Refused: a row may have several keys, or none."""
        raise IndexFunctionError(f"index {self.name!r} may have several keys for {row!r}; ask keys_of(row)")

    def keys_of(self, row: R) -> Keys:
        """The keys as a tuple."""
        return self._keys.keys_of(row)

    def extractor(self) -> tuple[Callable[[R], Any], Callable[[Any], Keys]]:
        """As that of `Index`."""
        return self._keys.extractor()


class Index(AnyIndex[K, R]):
    """Any number of rows per key, any number of keys per row. The function gives an iterable of keys."""

    def __init__(self, keys: Callable[[R], Iterable[K]]) -> None:
        """``keys`` must be pure, total and thread-safe; a tuple is the cheapest answer. Duplicates count once."""
        self.keys = keys

    def keys_of(self, row: R) -> Keys:
        """The keys as a tuple."""
        keys = self.keys(row)
        return keys if type(keys) is tuple else self._tuple_of(keys)

    def extractor(self) -> tuple[Callable[[R], Any], Callable[[Any], Keys]]:
        """The user's own function, called without a detour: most give a tuple already."""
        return self.keys, self._tuple_of

    def _tuple_of(self, keys: Any) -> Keys:
        if isinstance(keys, (str, bytes)):
            raise IndexFunctionError(f"the function gave {keys!r}, which is one key; give an iterable, ({keys!r},)")
        return tuple(keys)


class TextPrefixIndex(Index[T, R]):
    """An index of text or bytes whose keys are prefixes: what it is asked for is longer than what it holds.

    The view also finds the rows under the longest key that a text begins with, and under all such keys: routes by the
    path of a request, rules by the name of an interface. Otherwise it is an `Index`.
    """


class PrefixIndex(AnyIndex[N, R]):
    """IP networks: rows by the longest prefix of an address, by all covering ones, by all within a network.

    The function gives an iterable of networks or addresses: text, 4 or 16 packed bytes, or ipaddress objects; host bits
    are masked off. IPv4 and IPv6 do not mix: ``::/0`` covers no IPv4 address.
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
            raise IndexFunctionError(f"the function gave {networks!r}, one network; give an iterable, ({networks!r},)")
        return tuple([pack(network) for network in networks])

    def normal(self, key: Any) -> bytes:
        """The packed network. Raises InvalidKey."""
        return pack(key)


def _is_frozen(kind: type) -> bool:
    """Whether values of this class cannot be changed, as far as a class can tell."""
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
    """Refuse row types that can be changed in place. Raises InvalidTable."""
    if not _is_frozen(kind):
        raise InvalidTable(
            f"table {table!r}: rows of type {kind.__name__} can be changed in place; use a frozen msgspec Struct, "
            "frozen dataclass, frozen attrs class, NamedTuple, str, int or tuple"
        )


def _row_type_of(bases: Iterable[Any]) -> Any:
    """R of the ``Table[K, R]`` among the bases; None where it is not written there."""
    for base in bases:
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, Table):
            return get_args(base)[1]
    return None


class Table(Generic[K, R]):
    """A table's declaration: its name, its row type, its indexes. Never instantiated.

    Subclass it with the key and row types, give it a ``name`` and a ``primary`` index; every other index attribute
    is a secondary index. Names match ``[a-z][a-z0-9_-]{0,30}``. Raises InvalidTable at class creation.

    >>> class Words(Table[str, str], name="words"):
    ...     primary = UniqueIndex[str, str](lambda word: word)
    ...     by_letter = Index[str, str](lambda word: tuple(word))
    >>> Words.name, list(Words.indexes)
    ('words', ['primary', 'by_letter'])
    """

    # Not ClassVars: so both type checkers compare a subclass's primary with Table[K, R].
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
        """Refuse indexes under names that tables use themselves, and those of another class. Raises InvalidTable."""
        for attribute in dir(cls):
            index = inspect.getattr_static(cls, attribute)
            if not isinstance(index, AnyIndex):
                continue
            if attribute != "primary" and hasattr(Table, attribute):
                raise InvalidTable(
                    f"{cls.__name__}: an index cannot be called {attribute!r}, for that is what every table says about "
                    "itself; choose another name"
                )
            if attribute not in cls.__dict__ or index.name != attribute or hasattr(index, "table"):
                raise InvalidTable(
                    f"{cls.__name__}: index {attribute!r} belongs to another table or class, or has another name as "
                    "well; one index object is one index of one table: make a new one in the class itself"
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
        """Another table with the same indexes and rows, under a name of its own: one for each cluster, say.

        Each call makes a new one, so keep it; ``db.table(name)`` finds it once it is registered. Raises InvalidTable.

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
