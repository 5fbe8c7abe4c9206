"""Names of followers: each is taken once in a database, so that logs, statuses and owners mean one of them."""

from __future__ import annotations

import threading
from typing import Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

from statedb import Database


class NameTaken(ValueError):
    """Another follower, derivation or reconciler of this name runs on the database: choose another name, or stop it."""


class Holder(Protocol):
    """Who has a name."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended, so that its name is free."""
        ...


_lock = threading.Lock()
_holders: WeakKeyDictionary[Database, WeakValueDictionary[str, Holder]] = WeakKeyDictionary()


def claim(db: Database, name: str, holder: Holder) -> None:
    """The holder has the name until it is over, or collected. Raises NameTaken."""
    with _lock:
        holders = _holders.setdefault(db, WeakValueDictionary())
        other = holders.get(name)
        if other is not None and not other.is_over:
            raise NameTaken(
                f"{name!r} is the name of another follower on this database; give this one a name of its own, or stop "
                "the other one first"
            )
        holders[name] = holder


def claim_numbered(db: Database, name: str, holder: Holder) -> str:
    """Likewise where nobody chose the name: the first that is free of ``name``, ``name 2``, ``name 3``..."""
    number, chosen = 1, name
    while True:
        try:
            claim(db, chosen, holder)
            return chosen
        except NameTaken:
            number += 1
            chosen = f"{name} {number}"


def holders(db: Database) -> list[Holder]:
    """All that have a name on the database, those included that are over and not yet collected."""
    with _lock:
        return list(_holders.get(db, {}).values())
