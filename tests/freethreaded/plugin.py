"""A pytest plugin for the engine's tests on a free-threaded interpreter: ``-p tests.freethreaded.plugin --noconftest``.

In place of ``tests/conftest.py``, which needs packages that do not run there.
"""

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from .standin import module

MSGSPEC = importlib.util.find_spec("msgspec") is not None
if not MSGSPEC:
    sys.modules["msgspec"] = module()

settings.register_profile("freethreaded", deadline=None, derandomize=True)
settings.load_profile("freethreaded")


LEFT_OUT = ("test_typing.py", "test_state_machine.py", *([] if MSGSPEC else ["test_dump.py"]))
"""Tests of mypy and of msgspec, and the long model test of one thread; a short form of it is in test_operations.py."""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Also the tests that raise at every line: one thread, most of the time of a run, and nothing without a GIL."""
    return True if collection_path.name in LEFT_OUT or collection_path.name.startswith("test_injection") else None


def pytest_report_header() -> str:
    """Whether the run says anything."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        raise pytest.UsageError(f"{sys.executable} is no free-threaded interpreter, or its GIL is on")
    return "without a GIL, " + ("with msgspec" if MSGSPEC else "with a stand-in for msgspec")
