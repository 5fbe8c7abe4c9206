"""All invariants of the engine in one place. Slow: for tests and ``STATEDB_CHECK=1``."""

from __future__ import annotations

from collections.abc import Iterable

from .bucket import Bucket
from .history import Pin
from .index_store import IndexStore
from .store import TableStore

_TRIES = 1000


def check_stores(stores: Iterable[TableStore]) -> None:
    """Raise AssertionError if the newest state of a table is inconsistent.

    May be called at any time from any thread. A table that is being committed to meanwhile is checked again.
    """
    for store in stores:
        for _ in range(_TRIES):
            pin = store.pin
            problem = _problem(store, pin)
            if pin.commit.link is None and store.pin is pin:
                assert problem is None, f"table {store.name!r}: {problem}"
                break


def _problem(store: TableStore, pin: Pin) -> str | None:
    try:
        _check_rows(store, pin)
        for index in store.indexes:
            _check_index(store, index)
        store.order.check()
        store.row_list.check()
        for index in store.indexes:
            index.order.check()
    except (AssertionError, LookupError, RuntimeError) as error:
        return str(error) or repr(error)
    return None


def _check_rows(store: TableStore, pin: Pin) -> None:
    rows, revisions, commit = store.rows.copy(), store.revisions.copy(), pin.commit
    assert rows.keys() == revisions.keys(), f"rows {list(rows)} but revisions {list(revisions)}"
    assert len(rows) == commit.count, f"{len(rows)} rows, but the commit counts {commit.count}"
    numbers = sorted(revisions.values())
    assert len(set(numbers)) == len(numbers), f"two rows share a revision: {numbers}"
    assert not numbers or 1 <= numbers[0] <= numbers[-1] <= commit.revision, (
        f"revisions {numbers}, table {commit.revision}"
    )
    for key, row in rows.items():
        assert store.key_of(row) == key, f"row {row!r} is stored under {key!r}"
    if pin.ordered is not None:
        assert pin.ordered == [rows[key] for key in sorted(rows)], "the cached order of rows is wrong"


def _check_index(store: TableStore, index: IndexStore) -> None:
    expected: dict[object, set[object]] = {}
    for key, row in store.rows.copy().items():
        for secondary in index.index.keys_of(row):
            expected.setdefault(secondary, set()).add(key)
    entries = index.entries.copy()
    found = {key: set(e) if type(e) is Bucket else {e} for key, e in entries.items()}
    assert found == expected, f"index {index.index.name!r} holds {found}, expected {expected}"
    assert not index.unique or all(len(keys) == 1 for keys in expected.values()), f"{index.index.name!r} is not unique"
    for key, entry in entries.items():
        if type(entry) is Bucket:
            assert entry.ordered() == sorted(entry), f"index {index.index.name!r}: cached order of {key!r} is wrong"
