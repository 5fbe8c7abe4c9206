"""Every public operation of the store is tried by the state machine or in the race: a new one cannot be left out.

Counted are calls from the tests, and not those that the store makes itself.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from statedb import Database, WatchSet
from statedb.engine.index_views import IndexView, TextPrefixIndexView, UniqueIndexView
from statedb.engine.network_view import PrefixIndexView
from statedb.engine.snapshot import Snapshot
from statedb.engine.streams import ChangeStream, TablesStream
from statedb.engine.table_view import TableView
from statedb.engine.transaction import WriteTransaction
from statedb.engine.watch import Watch
from statedb.engine.writer import TableWriter
from statedb.testing import Host, Hosts, Step, perform_alone
from statedb.testing._histories import Kind

from . import test_race
from .test_state_machine import EngineAgainstModel

CLASSES: tuple[type[Any], ...] = (
    Database,
    Snapshot,
    WriteTransaction,
    TableView,
    TableWriter,
    IndexView,
    UniqueIndexView,
    TextPrefixIndexView,
    PrefixIndexView,
    ChangeStream,
    TablesStream,
    Watch,
    WatchSet,
)
SPOKEN = ("__getitem__", "__contains__", "__iter__", "__len__", "__reversed__")
ELSEWHERE = {"Database.observe": "test_stats.py"}
"""What neither of them tries, and the file where it is tried: it changes all later transactions of a database."""


def operations(kind: type[Any]) -> dict[str, type[Any]]:
    """The public methods and properties, with the class of the store that defines each."""
    return {
        name: base
        for base in reversed(kind.__mro__)
        if base.__module__.startswith("statedb.")
        for name, value in vars(base).items()
        if (name in SPOKEN or not name.startswith("_")) and (inspect.isfunction(value) or isinstance(value, property))
    }


def counted(function: Callable[..., Any], name: str, used: set[tuple[type[Any], str]]) -> Callable[..., Any]:
    """The function, which notes the class of who is asked."""

    @functools.wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not sys._getframe(1).f_globals.get("__name__", "").startswith("statedb.engine"):
            used.add((next(kind for kind in type(self).__mro__ if kind in CLASSES), name))
        return function(self, *args, **kwargs)

    return call


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> set[tuple[type[Any], str]]:
    """What was called since, by class and name."""
    used: set[tuple[type[Any], str]] = set()
    for base, name in {(base, name) for kind in CLASSES for name, base in operations(kind).items()}:
        value = vars(base)[name]
        new: Any = (
            property(counted(value.fget, name, used)) if isinstance(value, property) else counted(value, name, used)
        )
        monkeypatch.setattr(base, name, new)
    return used


def play_every_step() -> None:
    """Every kind of step that the machine and the histories draw from, on a row that is there."""
    for kind in get_args(Kind):
        db = Database(Hosts)
        db.insert(Hosts, Host("a"))
        perform_alone(Step(Hosts, kind, Host("a", "1")), db)


def missing(used: set[tuple[type[Any], str]]) -> set[str]:
    return {f"{kind.__name__}.{name}" for kind in CLASSES for name in operations(kind) if (kind, name) not in used}


def run_machine(number: int) -> None:
    """A few histories of the state machine, others for each number and the same each time."""
    chosen = settings(
        max_examples=2,
        stateful_step_count=30,
        derandomize=False,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(type("Machine", (EngineAgainstModel,), {})), settings=chosen)


@pytest.mark.timeout(600)
def test_every_operation_is_in_the_state_machine_or_in_a_race(used: set[tuple[type[Any], str]]) -> None:
    play_every_step()
    test_race.race(0.5)
    db, chance = test_race.filled(), Random(0)
    clerk = test_race.Clerk(db)
    for _ in range(40):  # enough for each of them to come, whatever the threads of the race came to
        clerk.turn(chance)
        test_race.transfer(db, chance)
        test_race.turn_the_ring(db, chance)
    test_race.check_dump(db)
    for number in range(10):  # the machine chooses its steps by chance, so that a few histories may lack a rare one
        if missing(used) == set(ELSEWHERE):
            break
        run_machine(number)
    assert missing(used) == set(ELSEWHERE)
    for operation, file in ELSEWHERE.items():
        assert f".{operation.rpartition('.')[2]}(" in Path(__file__).with_name(file).read_text(), operation
