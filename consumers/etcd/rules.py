"""What a writer may do beyond writing the keys that it is given: which keys are its own, and which may go."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from .present import Present
from .store import Store


def _everything(_: str, __: bytes) -> bool:
    return True


def _all_in_one(_: str) -> str:
    return ""


def _equal(_: str) -> int:
    return 0


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one writer. All functions are called on its thread and must be quick.

    ``prefixes`` are what it reads, watches and writes; each ends where a part of a key ends, as "myapp/pods/".
    ``is_own(key, value)`` says whether a key that stands there is the writer's at all; all others are left alone.
    ``may_delete(key)`` says whether an own key that nobody has put or deleted may go; if None, those that stand when
    `EtcdWriter.delete_others` is called go. ``part_of(key)`` names the part that `EtcdWriter.review` can ask it about.

    ``rank(key)`` orders keys that are written together: lower ones are put first and deleted last, and no transaction
    holds two ranks. ``gone_before(key, value, present)`` names keys that must be gone before this one is put.

    ``heartbeat`` is a key into which the time is written while all is well; none if empty. ``prepare(store)`` is called
    on each new connection before anything is read; what it raises ends the connection. ``periodic(store)`` is called
    then too, and again after the number of seconds that it returns.
    """

    prefixes: tuple[str, ...]
    is_own: Callable[[str, bytes], bool] = _everything
    may_delete: Callable[[str], bool] | None = None
    part_of: Callable[[str], str] = _all_in_one
    rank: Callable[[str], int] = _equal
    gone_before: Callable[[str, bytes, Present], Iterable[str]] | None = None
    heartbeat: str = ""
    prepare: Callable[[Store], None] | None = None
    periodic: Callable[[Store], float] | None = None
