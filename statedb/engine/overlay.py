"""Staging: what a transaction changes, in a private overlay over the newest state. Everything that can fail fails here.

Knows one table; knows no locks and no commits beyond the plan that says whether the transaction is open.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any, cast

from .commit import CommitPlan
from .errors import DuplicateKey, IndexFunctionError, InvalidKey, InvalidRow
from .history import Commit, Pin
from .index_store import IndexStore, fit
from .layers import Layer
from .schema import Keys, check_row_type
from .shape import PLAIN, describe, fits_of, shape_of
from .source import Source
from .states import Key, Redo, Row, State
from .store import TableStore

REFUSED = (DuplicateKey, InvalidKey, IndexFunctionError)
"""What staging raises before it has changed anything."""
NO_PIN = Pin(Commit(0, 0, 0, ()))
"""What closed transactions hold: no history."""
_LINKED = Commit(0, 0, 0, ())
_LINKED.link = ({}, {}, NO_PIN.commit)
_NOT_CLAIMED: Any = object()


class Overlay(Source):
    """What a transaction has staged on one table, over the newest state, which it alone may change."""

    __slots__ = ("before", "claims", "count", "layer", "log", "moved", "pending", "plan", "redo", "revision")

    def __init__(self, store: TableStore, pin: Pin, plan: CommitPlan) -> None:
        """Nothing staged."""
        commit = pin.commit
        self.store = store
        self.pin = pin
        self.plan = plan
        self.before: dict[Key, State] = {}  # what the rows were that are staged over; new rows are not among them
        self.redo: Redo = {}
        self.revision = commit.revision
        self.count = commit.count
        self.pending = commit.pending
        self.moved = False  # whether a row leaves an index key: others are spared the comparison
        # Unique secondary keys that this transaction gave to a row, or took from one (None).
        self.claims: list[dict[Key, Key | None]] | None = None
        if store.unique_indexes:
            self.claims = [{} for _ in store.unique_indexes]
        self.layer: Layer | None = None  # made for the first read that needs one, and kept up to date by the log
        self.log: list[Key] | None = None

    @property
    def commit(self) -> Commit:
        """One with a link: the newest rows may be staged over, or not ours to read any more."""
        return _LINKED

    def layers(self) -> tuple[Layer, ...]:
        """The staged rows, if there are any."""
        if not self.redo:
            return ()
        if self.layer is None:
            self.log = list(self.redo)
            self.layer = Layer(cast("dict[Key, Any]", self.redo), self.log)
        return (self.layer,)

    def check_open(self) -> None:
        """Raise TransactionClosed after commit or abort, WrongThread where the transaction is not this thread's."""
        self.plan.check_open()

    # -- staging ---------------------------------------------------------------------------------------------

    def stage(self, row: Row, key: Key, old: Row | None, staged: State | None) -> None:
        """Stage a row over ``old``, the one that is there now; ``staged`` is what is staged for its key already.

        Everything that can fail comes first: where this raises, nothing has changed.
        """
        store = self.store
        try:
            keys = store.keys_of(row)
        except MemoryError:
            raise
        except Exception:
            raise self.explained(row) from None
        stored: State | None = None
        old_keys: tuple[Keys, ...] | None = None
        if staged is not None:
            if not staged[2]:
                old_keys = staged[3]
        elif old is not None:
            old_keys = self.keys_of_stored(old)
            stored = (old, store.revisions[key], False, old_keys)
        elif type(key) is not store.plain and not store.fits(key):
            self.check_key(store, store.rows, key, row)
        try:
            if old_keys is None or keys != old_keys:
                for index, new in zip(store.indexes, keys):
                    for secondary in new:
                        if type(secondary) is not index.plain and not index.fits(secondary):
                            self.check_key(index, index.entries, secondary, row)
                if old is not None or staged is not None:
                    self.moved = True
                    if stored is not None:
                        self.check_pure(key, keys, stored[3])
                if self.claims is not None:
                    self.claim(key, keys, old_keys)
            else:
                keys = old_keys  # history keeps them once
            if stored is not None:
                self.before[key] = stored
            self.revision = revision = self.revision + 1
            self.redo[key] = (row, revision, False, keys)
            if old is None:
                self.count += 1
            if self.log is not None:
                self.log.append(key)
        except REFUSED:
            raise
        except BaseException:
            self.unstage({key: staged})
            raise

    def stage_new(self, row: Row, key: Key) -> bool:
        """Stage a row where there is none and nothing is staged: what bulk loads are made of.

        False, with nothing staged, where any of its keys is the first, or unlike others, or claimed, or cannot be
        taken: ``stage`` sees to all that, and tells what is wrong.
        """
        store = self.store
        if self.claims is not None or (type(key) is not store.plain and not store.fits(key)):
            return False
        try:
            keys = store.known_keys_of(row)
        except MemoryError:
            raise
        except Exception:  # told by stage
            return False
        if keys is None:
            return False
        try:
            self.revision = revision = self.revision + 1
            self.redo[key] = (row, revision, False, keys)
            self.count += 1
            if self.log is not None:
                self.log.append(key)
        except BaseException:
            self.unstage({key: None})
            raise
        return True

    def stage_all_new(self, rows: list[Row]) -> bool:
        """`stage_new` for many rows at once, nearly all of it at C speed. False, with nothing staged, as there."""
        store, redo = self.store, self.redo
        if self.claims is not None or not store.row_types.issuperset(map(type, rows)):
            return False
        try:
            keys = list(map(store.key_of, rows))
            if not fit(store, keys) or not (store.rows.keys().isdisjoint(keys) and redo.keys().isdisjoint(keys)):
                return False
            columns = [index.known_column_of(rows) for index in store.indexes]
        except MemoryError:
            raise
        except Exception:  # told by stage
            return False
        if None in columns:
            return False
        revisions = range(self.revision + 1, self.revision + 1 + len(rows))
        index_keys = zip(*cast("list[list[Keys]]", columns)) if columns else repeat(())
        staged: Redo = dict(zip(keys, zip(rows, revisions, repeat(False), index_keys)))
        if len(staged) != len(rows):
            return False
        try:
            redo.update(staged)
            self.revision += len(rows)
            self.count += len(rows)
            if self.log is not None:
                self.log += keys
        except BaseException:
            self.unstage(dict.fromkeys(keys))
            raise
        return True

    def stage_deletion(self, key: Key, old: Row, staged: State | None) -> None:
        """Stage that the row, which is there, is gone."""
        keys = staged[3] if staged is not None else self.keys_of_stored(old)
        self.moved = True
        try:
            if self.claims is not None:
                self.claim(key, None, keys)
            if staged is None:
                self.before[key] = (old, self.store.revisions[key], False, keys)
            self.revision = revision = self.revision + 1
            self.redo[key] = (old, revision, True, keys)
            self.count -= 1
            if self.log is not None:
                self.log.append(key)
        except BaseException:
            self.unstage({key: staged})
            raise

    def keys_of_stored(self, row: Row) -> tuple[Keys, ...]:
        """The index keys of a row that is there. Raises IndexFunctionError: the functions gave them once."""
        try:
            return self.store.keys_of(row)
        except MemoryError:
            raise
        except Exception:
            raise self.explained(row) from None

    def unstage(self, staged: dict[Key, State | None]) -> None:
        """Put back what was staged for these keys before a call that failed, or was interrupted (Ctrl-C, MemoryError).

        Cost: O(staged rows).
        """
        before, redo = self.before, self.redo
        for key, state in staged.items():
            if state is None:
                before.pop(key, None)
                redo.pop(key, None)
            else:
                redo[key] = state
        commit = self.pin.commit
        self.revision = max([commit.revision, *[state[1] for state in redo.values()]])
        self.count = commit.count + sum([(k not in before) - state[2] for k, state in redo.items()])
        self.layer = self.log = None
        if self.claims is not None:
            self.claims = [self._claimed(store.place) for store in self.store.unique_indexes]

    def _claimed(self, place: int) -> dict[Key, Key | None]:
        """The unique keys that the staged rows left (None) or took."""
        claims: dict[Key, Key | None] = {}
        for before in self.before.values():
            claims.update(dict.fromkeys(before[3][place]))
        for key, state in self.redo.items():
            if not state[2]:
                claims.update(dict.fromkeys(state[3][place], key))
        return claims

    # -- checking --------------------------------------------------------------------------------------------

    def key_error(self, row: Row, error: Exception) -> Exception:
        """Why the primary key of a row could not be taken or looked up."""
        name = self.store.name
        if isinstance(error, TypeError) and "unhashable" in str(error):
            return InvalidKey(f"table {name!r}, index 'primary': {error}; keys must be hashable; row {row!r}")
        return self.index_error("primary", row, error)

    def no_key(self, row: Row) -> IndexFunctionError:
        """The primary index function gave None."""
        return IndexFunctionError(f"table {self.store.name!r}: the primary index has no key for {row!r}")

    def check_row_type(self, row: Row) -> None:
        """Accept a row's type once it is known to be frozen, and of the table's own."""
        store = self.store
        kind = type(row)
        declared = store.table.row_type
        if row is None or (isinstance(declared, type) and not isinstance(row, declared)):
            wanted = declared.__name__ if isinstance(declared, type) else "immutable values"
            raise InvalidRow(f"table {store.name!r} holds rows of {wanted}, not {kind.__name__}: {row!r}")
        check_row_type(store.name, kind)
        store.row_types.add(kind)

    def index_error(self, index: str, row: Row, error: Exception) -> Exception:
        """An index function's exception, told with table, index and row; ours keep their class."""
        if isinstance(error, InvalidKey):
            return InvalidKey(f"table {self.store.name!r}, index {index!r}: {error}; row {row!r}")
        reason = str(error) if isinstance(error, IndexFunctionError) else f"{type(error).__name__}: {error}"
        return IndexFunctionError(f"table {self.store.name!r}, index {index!r}: {reason}; row {row!r}")

    def explained(self, row: Row) -> Exception:
        """The exception of the index function that fails for this row."""
        for store in self.store.indexes:
            try:
                store.index.keys_of(row)
            except Exception as error:
                explained = self.index_error(store.index.name, row, error)
                explained.__cause__ = error
                return explained
        return IndexFunctionError(
            f"table {self.store.name!r}: an index function failed once for row {row!r}; it must be pure"
        )

    def check_key(self, store: TableStore | IndexStore, keys: dict[Key, Any], key: Key, row: Row) -> None:
        """Demand of a new key the type shape of the index's first one, so that no comparison fails in a reader."""
        try:
            if key in keys:
                return
            shape = shape_of(key)
        except TypeError as error:  # unhashable, or InvalidKey
            raise self.index_error(self._name_of(store), row, _as_invalid_key(error)) from error
        sequence = self.pin.commit.sequence
        # A shape is for ever once it was committed: old snapshots compare with keys of today. An abort takes it back.
        if store.shape is None or (store.shaped_at == sequence and not self.redo):
            store.shape = shape
            store.shaped_at = sequence
            store.plain = shape if isinstance(shape, type) and shape in PLAIN else None
            store.fits = fits_of(shape)
        elif shape != store.shape:
            raise InvalidKey(
                f"table {self.store.name!r}, index {self._name_of(store)!r}: the key {key!r} is {describe(shape)}, "
                f"but the others are {describe(store.shape)}; all keys of an index must have one type; row {row!r}"
            )

    def _name_of(self, store: TableStore | IndexStore) -> str:
        return "primary" if isinstance(store, TableStore) else store.index.name

    def check_pure(self, key: Key, keys: tuple[Keys, ...], old_keys: tuple[Keys, ...]) -> None:
        """Raise where an index does not hold the stored row under the keys that its function gives for it now."""
        for index, new, old in zip(self.store.indexes, keys, old_keys):
            if new == old:
                continue
            for secondary in old:
                if not index.names(secondary, key):
                    raise IndexFunctionError(
                        f"table {self.store.name!r}, index {index.index.name!r}: the function gives {secondary!r} "
                        f"now and did not when row {key!r} was stored; it must be pure"
                    )

    def claim(self, key: Key, keys: tuple[Keys, ...] | None, old_keys: tuple[Keys, ...] | None) -> None:
        """Give and take unique secondary keys, against the transaction's own state. Raises DuplicateKey."""
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
