"""The doors of the engine: what leaves through them, and what they do not drag in."""

import subprocess
import sys
from pathlib import Path

import pytest

import statedb
import statedb.testing

DOORS = [statedb, statedb.testing]
HOMES = {statedb: "statedb.engine.", statedb.testing: "statedb.testing._"}


@pytest.mark.parametrize("door", DOORS)
def test_names_are_listed_and_there(door):
    assert door.__doc__
    assert list(door.__all__) == sorted(set(door.__all__))
    for name in door.__all__:
        assert hasattr(door, name)


@pytest.mark.parametrize("door", DOORS)
def test_every_public_class_and_its_public_methods_say_what_they_are(door):
    for name in door.__all__:
        thing = getattr(door, name)
        if isinstance(thing, type):
            assert thing.__doc__, name
            for member, value in vars(thing).items():
                if not member.startswith("_") and callable(value):
                    assert getattr(value, "__doc__", None), f"{name}.{member}"


def test_what_has_a_docstring_leaves_from_a_private_module_and_through_one_door_only():
    out = [{name: getattr(door, name) for name in door.__all__ if name != "__version__"} for door in DOORS]
    assert not {id(thing) for thing in out[0].values()} & {id(thing) for thing in out[1].values()}
    assert not set(out[0]) & set(out[1])
    for door, things in zip(DOORS, out):
        for name, thing in things.items():
            assert thing.__doc__, name
            assert thing.__name__ == name
            assert thing.__module__.startswith(HOMES[door]), name


def test_no_private_module_is_a_door_of_its_own():
    root = Path(statedb.__file__).parent
    for path in (*root.glob("engine/*.py"), *root.glob("testing/_*.py")):
        if path.parent.name == "engine" or path.name != "__init__.py":
            assert "__all__" not in path.read_text(), path.name


@pytest.mark.parametrize("door", DOORS)
def test_a_star_import_brings_what_is_listed_and_nothing_else(door):
    names: dict[str, object] = {}
    exec(f"from {door.__name__} import *", names)
    assert set(names) - {"__builtins__"} == set(door.__all__)


def imported(door: str) -> set[str]:
    """The packages that importing a door brings into a fresh interpreter, the standard library's left out."""
    code = f"import sys; before = set(sys.modules); import {door}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names


def test_the_engine_needs_little():
    """Neither msgspec nor hypothesis, grpc, yaml, click or the tables that the project brings along."""
    assert imported("statedb") == {"statedb", "sortedcontainers"}


def test_the_second_door_does_not_need_hypothesis_before_a_strategy_is_asked_for():
    assert "hypothesis" not in imported("statedb.testing")


def test_every_error_is_of_one_family():
    errors = [getattr(statedb, name) for name in statedb.__all__]
    errors = [each for each in errors if isinstance(each, type) and issubclass(each, Exception)]
    assert len(errors) >= 14
    assert all(issubclass(each, statedb.StateDBError) for each in errors)
