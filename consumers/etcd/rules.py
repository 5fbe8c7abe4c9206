"""The rules of a writer: which keys are its own, which it may delete, and in which order it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from .present import Present
from .store import Store


def _everything(_: str, __: bytes) -> bool:
    return True


def _all_in_one(_: str) -> str:
    return ""


def _none() -> str:
    return ""


def _nothing() -> None:
    pass


def _equal(_: str) -> int:
    return 0


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one writer. All functions are called on its thread and must be fast.

    ``prefixes``: the prefixes that it reads, watches and writes. Each ends with a separator, as in "myapp/pods/".
    ``is_own(key, value)``: whether a key in the etcd belongs to the writer. All other keys are left alone.
    ``may_delete(key)``: whether an own key may be deleted that was neither put nor deleted. If None, such keys are
    deleted once `EtcdWriter.delete_others` has been called. ``part_of(key)``: the part that a key belongs to;
    `EtcdWriter.review` can be called for one part. ``describes_part(key)``: whether all other keys of the part depend
    on this one. When it has been written, or needs no write, ``may_delete`` is asked again about the part. When it has
    been written, the marks of the part are written again.

    ``rank(key)``: the order of keys that are written together. Lower ranks are put first and deleted last, and no
    transaction has keys of two ranks. ``delete_first(key, value, present)``: keys to delete before this one is put.

    ``heartbeat``: a key to which the time is written while the writer is healthy; none if empty. ``doubt()``: why the
    keys may be out of date, or empty; it is written after the time, for readers.

    ``begins()`` is called when the writer begins: on each connection, and whenever it becomes the leader again.
    ``prepare(store)`` is called on each new connection, before anything is read; an exception ends the connection.
    ``periodic(store)`` is called then too, and again after the number of seconds that it returns.
    """

    prefixes: tuple[str, ...]
    is_own: Callable[[str, bytes], bool] = _everything
    may_delete: Callable[[str], bool] | None = None
    part_of: Callable[[str], str] = _all_in_one
    describes_part: Callable[[str], bool] | None = None
    rank: Callable[[str], int] = _equal
    delete_first: Callable[[str, bytes, Present], Iterable[str]] | None = None
    heartbeat: str = ""
    doubt: Callable[[], str] = _none
    begins: Callable[[], None] = _nothing
    prepare: Callable[[Store], None] | None = None
    periodic: Callable[[Store], float] | None = None
