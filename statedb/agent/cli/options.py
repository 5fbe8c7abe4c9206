"""Options that several commands share, and the agent and output that they name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .given_options import options_given
from .interrupts import interruptible

if TYPE_CHECKING:
    from .remote_commands import RemoteCommands

F = TypeVar("F", bound=Callable[..., Any])

_YEAR_S = 365 * 86_400.0
_CREDENTIALS = {
    "ca-file": "Who signs the certificate of an https agent (default: STATEDB_CA_FILE, or whom the system trusts).",
    "cert-file": "A client certificate (default: STATEDB_CERT_FILE).",
    "key-file": "Its key, if it stands in another file (default: STATEDB_KEY_FILE).",
    "token-file": "A file with a bearer token (default: STATEDB_TOKEN_FILE).",
}


class Seconds(click.FloatRange):
    """A number of seconds from 0 to a year, and not NaN, which passes every range check."""

    name = "seconds"

    def __init__(self) -> None:
        """The range is the same for all options."""
        super().__init__(0.0, _YEAR_S)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number. Raises BadParameter."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return number


def complete_by(what: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """A completion function for names that a running agent knows."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
        from . import completion  # start-up time

        return list(getattr(completion, what)(context, parameter, begun))

    return complete


def server(command: F) -> F:
    """Add the options for the agent and its credentials. Each may also be given to the groups above."""
    named = click.option(
        "-s",
        "--server",
        metavar="URL",
        help="The agent: http://host:port, https://... or unix:/path (default: STATEDB_SERVER, or "
        "http://127.0.0.1:9974).",
    )
    for name, what in reversed(_CREDENTIALS.items()):
        command = click.option(f"--{name}", metavar="FILE", help=what)(command)
    return named(command)


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
    """The commands for the agent and the output format in the options of the command, or of the groups above it."""
    from . import agents  # start-up time: http.client, ssl
    from .remote_commands import RemoteCommands  # start-up time

    context = click.get_current_context()
    context.with_resource(interruptible())
    found = options_given(context, (*agents.NAMES, "output", "columns", "where", "sort"))
    shown: dict[str, Any] = {name: found[name] for name in ("columns", "where", "sort") if found[name] is not None}
    return RemoteCommands(agents.agent(found), output=found["output"] or "table", **shown)
