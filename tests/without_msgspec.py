"""A pytest plugin for interpreters that msgspec does not support: rows are frozen dataclasses there.

    python -m pytest -p tests.without_msgspec tests/statedb/engine

The engine needs msgspec for dumps alone; the tests of those are skipped.
"""

from __future__ import annotations

import dataclasses
import sys
from types import ModuleType
from typing import Any

try:
    import msgspec  # noqa: F401
except ImportError:

    class Struct:
        """A dataclass with the options of a struct that a dataclass has too."""

        def __init_subclass__(cls, *, frozen: bool = False, order: bool = False, **_: Any) -> None:
            dataclasses.dataclass(frozen=frozen, order=order)(cls)

    module = ModuleType("msgspec")
    module.Struct = Struct  # type: ignore[attr-defined]
    sys.modules["msgspec"] = module
