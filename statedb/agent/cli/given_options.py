"""The options of a command and of the groups above it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click


def options_given(context: click.Context | None, names: Iterable[str]) -> dict[str, Any]:
    """The options of a command, or of the groups above it. None for an option that is not given."""
    found: dict[str, Any] = dict.fromkeys(names)
    while context is not None:
        for name in found:
            found[name] = found[name] or context.params.get(name)
        context = context.parent
    return found
