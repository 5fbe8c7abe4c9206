"""Completion in shells: the script that a shell reads, and names that a running agent knows."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import get_completion_class

from ..errors import AgentError
from . import agents
from .given_options import options_given

SHELLS = ("bash", "zsh", "fish")
_TIMEOUT_S = 1.0


def script(shell: str, command: click.Command) -> str:
    """The script for ``eval "$(statedb completion bash)"``."""
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(command, {}, "statedb", "_STATEDB_COMPLETE").source()


def tables(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """The names of tables that begin with ``begun``."""
    return [name for each in _described(context) if (name := each["name"]).startswith(begun)]


def indexes(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """The names of the indexes of the table in the command that begin with ``begun``."""
    wanted = context.params.get("table") or next(iter(context.args), None)  # click stops at a missing value
    found = [index["name"] for each in _described(context) if each["name"] == wanted for index in each["indexes"]]
    return [name for name in found if name.startswith(begun)]


def keys(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Keys of the table or index in the command: whole ones with slashes, or the next field after those given."""
    table, index = context.params.get("table"), context.params.get("index")
    given: tuple[str, ...] = tuple(context.params.get("key") or ())
    if not table:
        return []
    parameters = [("begins", "/".join([*given, begun])), *([("index", index)] if index else [])]
    found = _ask(context, f"/keys/{table}", parameters).get("keys", [])
    place = len(given)
    texts = [key[place] if place else "/".join(key) for key in found if len(key) > place]
    return list(dict.fromkeys([text for text in texts if text.startswith(begun)]))


def _described(context: click.Context) -> list[dict[str, Any]]:
    return list(_ask(context, "/tables", []).get("tables", []))


def _ask(context: click.Context, path: str, parameters: list[tuple[str, str]]) -> dict[str, Any]:
    """The response of the agent. Empty after any error, because completion must not print errors."""
    try:
        return dict(agents.agent(options_given(context, agents.NAMES), _TIMEOUT_S).json(path, parameters))
    except AgentError:
        return {}
