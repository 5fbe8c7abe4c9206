"""The doors of the engine: what leaves through them, and what they do not drag in."""

import subprocess
import sys

import pytest

import statedb
import statedb.testing

DOORS = [statedb, statedb.testing]


@pytest.mark.parametrize("door", DOORS)
def test_names_are_listed_and_there(door):
    assert door.__doc__
    assert len(set(door.__all__)) == len(door.__all__)
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


def test_no_name_leaves_through_two_doors():
    assert not set(statedb.__all__) & set(statedb.testing.__all__)


@pytest.mark.parametrize("absent", ["msgspec", "hypothesis", "grpc", "yaml", "catalog", "click"])
def test_the_engine_needs_little(absent: str):
    code = f"import sys, statedb; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_error_is_of_one_family():
    errors = [getattr(statedb, name) for name in statedb.__all__]
    errors = [each for each in errors if isinstance(each, type) and issubclass(each, Exception)]
    assert len(errors) >= 14
    assert all(issubclass(each, statedb.StateDBError) for each in errors)
