"""A pytest plugin for the engine's tests on a free-threaded interpreter: ``-p tests.freethreaded.plugin --noconftest``.

In place of ``tests/conftest.py``, which needs packages that do not run there.
"""

import importlib.util
import sys

import pytest
from hypothesis import settings

from .standin import module

MSGSPEC = importlib.util.find_spec("msgspec") is not None
if not MSGSPEC:
    sys.modules["msgspec"] = module()

settings.register_profile("freethreaded", deadline=None, derandomize=True)
settings.load_profile("freethreaded")


def pytest_ignore_collect(collection_path: object) -> bool | None:
    """What tests other packages: mypy, and without msgspec its conversions."""
    left_out = ("test_typing.py",) if MSGSPEC else ("test_typing.py", "test_dump.py")
    return True if str(collection_path).endswith(left_out) else None


def pytest_report_header() -> str:
    """Whether the run says anything."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        raise pytest.UsageError(f"{sys.executable} is no free-threaded interpreter, or its GIL is on")
    return "without a GIL, " + ("with msgspec" if MSGSPEC else "with a stand-in for msgspec")
