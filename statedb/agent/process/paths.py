"""Paths in a configuration: relative ones are relative to its directory, and ``~`` is the user's home directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)

_PATHS = ("directory", "kubeconfig")


def resolved(path: str, base: Path) -> str:
    """The path of a file, resolved against the directory of the configuration."""
    return str(base / os.path.expanduser(path))


def with_resolved_paths(options: S, base: Path) -> S:
    """The options with each path resolved."""
    changed: dict[str, Any] = {}
    for field in options.__struct_fields__:
        value = getattr(options, field)
        if isinstance(value, msgspec.Struct):
            changed[field] = with_resolved_paths(value, base)
        elif isinstance(value, str) and (field in _PATHS or field.endswith("_file")):
            changed[field] = resolved(value, base)
    return msgspec.structs.replace(options, **changed)
