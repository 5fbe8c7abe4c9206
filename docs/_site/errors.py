"""The exceptions that programs may catch, from the public packages."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module

_PACKAGES = ("statedb", "ingest", "ingest.etcd", "statedb.agent")


def markdown() -> str:
    """A table for each package."""
    lines: list[str] = []
    for package in _PACKAGES:
        lines += [f"## `from {package} import ...`", "", "| exception | is a | raised when |", "|---|---|---|"]
        lines += [*_rows(package), ""]
    return "\n".join(lines)


def _rows(package: str) -> Iterator[str]:
    module = import_module(package)
    for name in sorted(module.__all__):
        found = getattr(module, name)
        if isinstance(found, type) and issubclass(found, BaseException):
            base = next(each.__name__ for each in found.__mro__[1:])
            text = " ".join(inspect.getdoc(found).split()) if found.__doc__ else ""
            yield f"| `{name}` | `{base}` | {text.replace('``', '`').replace('|', chr(92) + '|')} |"
