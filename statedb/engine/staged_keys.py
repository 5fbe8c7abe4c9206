"""The keys of staged rows: their shapes, the owners of unique keys, and the errors of rejected rows.

Knows one table. Everything here either leaves the staged state unchanged, or raises why a row is rejected.
"""

from __future__ import annotations

from typing import Any

from .errors import DuplicateKey, IndexFunctionError, InvalidKey, InvalidRow
from .extract import checking_extractor_of
from .schema import Keys, check_row_type
from .shape import KeyShape, describe, shape_of
from .source import Source
from .states import KEYS, Key, Redo, Row, State

_NOT_CLAIMED: Any = object()


class StagedKeys(Source):
    """The part of an overlay that knows keys. `Overlay` adds the rows."""

    __slots__ = (
        "before",
        "claims",
        "index_shapes",
        "key_shape",
        "known_keys_of",
        "learning",
        "redo",
    )

    before: dict[Key, State]
    redo: Redo

    def reset(self) -> None:
        """Start without claims and with the shapes of the table. New shapes become the table's only with the commit."""
        store = self.store
        self.key_shape = store.key_shape
        self.index_shapes = store.index_shapes
        self.known_keys_of = store.known_keys_of
        self.learning = False
        # Unique secondary keys that this transaction assigned to a row, or removed from one (None).
        self.claims: list[dict[Key, Key | None]] | None = None
        if store.unique_indexes:
            self.claims = [{} for _ in store.unique_indexes]

    def new_claims(self, keys: list[Key], columns: list[list[Keys]]) -> list[dict[Key, Key]] | None:
        """The owners of the unique keys of new rows. None if a key is taken, or occurs twice."""
        claims = []
        for taken, store in zip(self.claims or (), self.store.unique_indexes):
            column = columns[store.place]
            new = {secondary: key for key, secondaries in zip(keys, column) for secondary in secondaries}
            if len(new) != sum(map(len, column)) or not (
                store.entries.keys().isdisjoint(new) and taken.keys().isdisjoint(new)
            ):
                return None
            claims.append(new)
        return claims

    def keys_of_stored(self, row: Row) -> tuple[Keys, ...]:
        """The index keys of a stored row. Raises IndexFunctionError if a function fails now."""
        try:
            return self.store.keys_of(row)
        except MemoryError:
            raise
        except Exception:
            raise self.index_failure(row) from None

    def _claimed(self, position: int) -> dict[Key, Key | None]:
        """The unique keys that staged rows gave up (None) or took."""
        claims: dict[Key, Key | None] = {}
        for before in self.before.values():
            claims.update(dict.fromkeys(before[position + KEYS]))
        for key, state in self.redo.items():
            if not state[2]:
                claims.update(dict.fromkeys(state[position + KEYS], key))
        return claims

    # -- checking --------------------------------------------------------------------------------------------

    def key_error(self, row: Row, error: Exception) -> Exception:
        """The error for a row whose primary key cannot be computed or looked up."""
        name = self.store.name
        if isinstance(error, TypeError) and "unhashable" in str(error):
            return InvalidKey(f"table {name!r}, index 'primary': {error}; keys must be hashable; row {row!r}")
        return self.index_error("primary", row, error)

    def missing_key(self, row: Row) -> IndexFunctionError:
        """The error for a row for which the primary index function returned None."""
        return IndexFunctionError(f"table {self.store.name!r}: the primary index has no key for {row!r}")

    def check_row_type(self, row: Row) -> None:
        """Accept the type of a row if it is frozen and the table's own. Raises InvalidRow or InvalidTable."""
        store = self.store
        kind = type(row)
        declared = store.table.row_type
        if row is None or (isinstance(declared, type) and not isinstance(row, declared)):
            wanted = declared.__name__ if isinstance(declared, type) else "immutable values"
            raise InvalidRow(f"table {store.name!r} holds rows of {wanted}, not {kind.__name__}: {row!r}")
        check_row_type(store.name, kind)
        store.row_types.add(kind)

    def index_error(self, index: str, row: Row, error: Exception) -> Exception:
        """The exception of an index function with table, index and row added. Exceptions of ours keep their class."""
        if isinstance(error, InvalidKey):
            return InvalidKey(f"table {self.store.name!r}, index {index!r}: {error}; row {row!r}")
        reason = str(error) if isinstance(error, IndexFunctionError) else f"{type(error).__name__}: {error}"
        return IndexFunctionError(f"table {self.store.name!r}, index {index!r}: {reason}; row {row!r}")

    def index_failure(self, row: Row) -> Exception:
        """The exception of the index function that fails for this row."""
        for store in self.store.indexes:
            try:
                store.index.keys_of(row)
            except Exception as error:
                failure = self.index_error(store.index.name, row, error)
                failure.__cause__ = error
                return failure
        return IndexFunctionError(
            f"table {self.store.name!r}: an index function failed once for row {row!r}; it must be pure"
        )

    def check_shape(self, shapes: dict[int, Any] | None, known: KeyShape, key: Key, row: Row) -> dict[int, Any] | None:
        """Check the shape of a new key against the other keys of its index, so that no comparison fails in a reader.

        ``shapes`` are the shapes that this row is the first to have, by position. They are returned with one more if
        this key is the first of its index. They take effect with ``learn``: a rejected row changes nothing.
        """
        position = known.position
        keys: dict[Key, Any] = self.store.indexes[position - 1].entries if position else self.store.rows
        try:
            if key in keys:
                return shapes
            shape = shape_of(key)
        except TypeError as error:  # unhashable, or InvalidKey
            raise self.index_error(self._name_of(position), row, _as_invalid_key(error)) from error
        wanted = known.shape if known.shape is not None else (shapes or {}).get(position)
        if wanted is None:
            return {**(shapes or {}), position: shape}
        if shape != wanted:
            raise InvalidKey(
                f"table {self.store.name!r}, index {self._name_of(position)!r}: the key {key!r} is {describe(shape)}, "
                f"but the others are {describe(wanted)}; all keys of an index must have one type; row {row!r}"
            )
        return shapes

    def learn(self, shapes: dict[int, Any]) -> None:
        """Also require these shapes of what is staged from now on. Learned shapes that no staged row has any more are
        dropped.
        """
        store = self.store
        if self.learning:
            shapes = {**self.learned(), **shapes}
        self.learning = True
        own = (store.key_shape, *store.index_shapes)
        new = [KeyShape(s.position, shapes[s.position]) if s.position in shapes else s for s in own]
        self.key_shape = new[0]
        self.index_shapes = tuple(new[1:])
        self.known_keys_of = checking_extractor_of([index.index for index in store.indexes], self.index_shapes)

    def learned(self) -> dict[int, Any]:
        """The shapes of the staged rows' keys for indexes that have none. Rows that are deleted again do not count."""
        shapes: dict[int, Any] = {}
        for known in (self.store.key_shape, *self.store.index_shapes):
            if known.shape is None:
                for key, state in self.redo.items():
                    keys = () if state[2] else state[known.position + KEYS] if known.position else (key,)
                    if keys:
                        shapes[known.position] = shape_of(keys[0])
                        break
        return shapes

    def _name_of(self, position: int) -> str:
        return self.store.indexes[position - 1].index.name if position else "primary"

    def check_pure(self, key: Key, keys: tuple[Keys, ...], old_keys: tuple[Keys, ...]) -> None:
        """Raise if an index does not have the stored row under the keys that its function returns for it now."""
        for index, new, old in zip(self.store.indexes, keys, old_keys):
            if new == old:
                continue
            for secondary in old:
                if not index.has(secondary, key):
                    raise IndexFunctionError(
                        f"table {self.store.name!r}, index {index.index.name!r}: the function returns {secondary!r} "
                        f"now, but did not when row {key!r} was stored; it must be pure"
                    )

    def claim(self, key: Key, keys: tuple[Keys, ...] | None, old_keys: tuple[Keys, ...] | None) -> None:
        """Assign and release unique secondary keys, on top of the transaction's own state. Raises DuplicateKey."""
        assert self.claims is not None
        for claims, store in zip(self.claims, self.store.unique_indexes):
            for secondary in keys[store.place] if keys is not None else ():
                owner = claims.get(secondary, _NOT_CLAIMED)
                if owner is _NOT_CLAIMED:
                    owner = store.entries.get(secondary)
                if owner is not None and owner != key:
                    raise DuplicateKey(
                        f"table {self.store.name!r}, unique index {store.index.name!r}: {secondary!r} belongs to row "
                        f"{owner!r} and cannot go to {key!r} as well; delete or change the other row first"
                    )
        for claims, store in zip(self.claims, self.store.unique_indexes):
            for secondary in old_keys[store.place] if old_keys is not None else ():
                claims[secondary] = None
            for secondary in keys[store.place] if keys is not None else ():
                claims[secondary] = key


def _as_invalid_key(error: TypeError) -> InvalidKey:
    return error if isinstance(error, InvalidKey) else InvalidKey(f"{error}; keys must be hashable and ordered")
