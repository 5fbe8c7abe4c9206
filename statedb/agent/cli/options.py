"""Options that several commands share, and the agent and output that they name."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from .remote_commands import RemoteCommands

F = TypeVar("F", bound=Callable[..., Any])

_YEAR_S = 365 * 86_400.0


class Seconds(click.FloatRange):
    """A number of seconds from 0 to a year: neither infinite nor NaN, which compares with nothing."""

    name = "seconds"

    def __init__(self) -> None:
        """The bounds are the same for all."""
        super().__init__(0.0, _YEAR_S)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number. Raises BadParameter."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return number


def complete_by(what: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Names that a running agent knows, for completion in a shell."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
        from . import completion  # start-up time

        return list(getattr(completion, what)(context, parameter, begun))

    return complete


server = click.option(
    "-s",
    "--server",
    metavar="URL",
    help="The agent: http://host:port or unix:/path (default: STATEDB_SERVER, or http://127.0.0.1:9974).",
)


def configured(command: F) -> F:
    return click.option(
        "-c", "--config", required=True, metavar="FILE", help="The configuration, YAML; - for standard input."
    )(command)


def remote_options(command: F) -> F:
    """Add the options of commands that query an agent. Each may also be given to the group above the command."""
    shape = click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "wide", "name", "json", "jsonl", "yaml"]),
        help="Columns (default), whole ones, keys, or JSON, JSON lines or YAML for programs.",
    )
    columns = click.option("--columns", metavar="A,B", help="Only these fields, in full.")
    return server(shape(columns(command)))


def selecting(command: F) -> F:
    """Add the options that choose and sort rows."""
    where = click.option("--where", multiple=True, metavar="FIELD=VALUE", help="Only these rows; repeatable.")
    sort = click.option("--sort", metavar="FIELD", help="Sort by this field; -FIELD: the largest first.")
    return where(sort(command))


def agent_commands() -> RemoteCommands:
    """The agent and the output format, from the options of the command, else from those of the groups above it."""
    from .remote_commands import RemoteCommands  # start-up time: yaml, http.client

    context = click.get_current_context(silent=True)
    found: dict[str, Any] = {}
    while context is not None:
        for name in ("server", "output", "columns", "where", "sort"):
            found[name] = found.get(name) or context.params.get(name)
        context = context.parent
    address = found["server"] or os.environ.get("STATEDB_SERVER") or "http://127.0.0.1:9974"
    given: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    given |= {"server": address, "output": found["output"] or "table"}
    return RemoteCommands(**given)
