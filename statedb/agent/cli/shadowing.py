"""Detects a user's package that hides one of ours, for example through PYTHONPATH."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_PACKAGES = ("ingest", "consumers")
_HOME = Path(__file__).resolve().parents[3]


def shadowed_packages() -> list[str]:
    """One message for each of our packages that another one hides, with both paths. Empty if none is hidden.

    Our packages are installed beside ``statedb``, so a package that is found elsewhere is not ours.
    """
    return [message for name in _PACKAGES if (message := _message(name)) is not None]


def _message(name: str) -> str | None:
    ours = _HOME / name
    spec = find_spec(name)
    if spec is None:
        return f"the package {name!r} is missing from {_HOME}; install statedb again"
    found = Path(spec.origin) if spec.origin else Path(next(iter(spec.submodule_search_locations or ())))
    if found.resolve() == ours / "__init__.py":
        return None
    if not ours.is_dir():
        return f"the package {name!r} is missing from {_HOME}, and {found} is a different one; install statedb again"
    return f"{found} hides {ours}, which statedb needs; rename it, or remove its folder from PYTHONPATH"
