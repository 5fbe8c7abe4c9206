"""Names of followers, unique in a database, so that logs, statuses and owners are unambiguous."""

from __future__ import annotations

import threading
from typing import Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

from statedb import Database


class NameTaken(ValueError):
    """Another follower, derivation or reconciler of this database has the name. Choose another, or stop that one."""


class Holder(Protocol):
    """An object that has a name."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended, so that its name is free."""
        ...


_lock = threading.Lock()
_holders: WeakKeyDictionary[Database, WeakValueDictionary[str, Holder]] = WeakKeyDictionary()


def claim(db: Database, name: str, holder: Holder) -> None:
    """Assign a name to a holder, until the holder has ended or is garbage-collected. Raises NameTaken."""
    with _lock:
        holders = _holders.setdefault(db, WeakValueDictionary())
        other = holders.get(name)
        if other is not None and not other.is_over:
            raise NameTaken(
                f"{name!r} is the name of another follower on this database; choose another name, or stop the other "
                "follower first"
            )
        holders[name] = holder


def claim_numbered(db: Database, name: str, holder: Holder) -> str:
    """Assign a default name to a holder: the first free one of ``name``, ``name 2``, ``name 3``..."""
    number, chosen = 1, name
    while True:
        try:
            claim(db, chosen, holder)
            return chosen
        except NameTaken:
            number += 1
            chosen = f"{name} {number}"


def holders(db: Database) -> list[Holder]:
    """All named objects of the database, including those that have ended and are not yet garbage-collected."""
    with _lock:
        return list(_holders.get(db, {}).values())
