"""The command line. Every command imports what it needs when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from .remote_commands import Asking

F = TypeVar("F", bound=Callable[..., Any])

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class _Group(click.Group):
    """The commands, in the order in which a newcomer needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is given
        """In the order in which they were written."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Raises UsageError that says which command was meant."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from ..process.strict import known

            raise click.UsageError(f"no command {args[0][:60]!r}; {known(self.list_commands(ctx), args[0])}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """End quietly with Ctrl-C, and where nobody reads any more: both are how a stream of changes ends."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt:
            return 0
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the last flush must not fail
            return 0


_server = click.option(
    "-s",
    "--server",
    metavar="URL",
    help="The agent: http://host:port or unix:/path (default: STATEDB_SERVER, or http://127.0.0.1:9974).",
)


@click.group(cls=_Group, context_settings=_CONTEXT, invoke_without_command=True)
@_server
@click.version_option(package_name="statedb", message="statedb %(version)s")
@click.pass_context
def cli(ctx: click.Context, /, **asking: Any) -> None:  # noqa: ARG001 - commands look it up in the context
    """Tables of a cluster's state in memory: run an agent that fills them, or ask one that runs."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _configured(command: F) -> F:
    return click.option("-c", "--config", required=True, metavar="FILE", help="The configuration, YAML.")(command)


def _asking(command: F) -> F:
    """Options of every command that asks an agent. What a command is not given, the groups above it may have been."""
    shape = click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        help="Columns for people (default), or JSON or YAML for programs.",
    )
    columns = click.option("--columns", metavar="A,B", help="Only these fields, whole.")
    return _server(shape(columns(command)))


def _agent() -> Asking:
    """The agent to ask and how to print, from the options of the command, then of the groups above it."""
    from .remote_commands import Asking

    context = click.get_current_context(silent=True)
    found: dict[str, Any] = {}
    while context is not None:
        for name in ("server", "output", "columns"):
            found[name] = found.get(name) or context.params.get(name)
        context = context.parent
    server = found["server"] or os.environ.get("STATEDB_SERVER") or "http://127.0.0.1:9974"
    return Asking(server=server, output=found["output"] or "table", columns=found["columns"])


@cli.command()
@_configured
@click.option("--warm-start", metavar="FILE", help="Begin with the rows that 'statedb dump -f' wrote there.")
def run(config: str, warm_start: str | None) -> None:
    """Run an agent until SIGTERM or Ctrl-C."""
    from .local_commands import run as work

    work(config, warm_start)


@cli.command()
@_configured
def check(config: str) -> None:
    """Say whether a configuration is good, and what it means."""
    from .local_commands import check as work

    work(config)


@cli.command()
@_asking
def tables(**asking: Any) -> None:  # noqa: ARG001
    """The tables of an agent."""
    _agent().tables()


@cli.command()
@click.argument("table")
@click.option("--limit", type=click.IntRange(1, 999_999_999), help="At most so many rows.")
@_asking
def show(table: str, limit: int | None, **asking: Any) -> None:  # noqa: ARG001
    """All rows of a table."""
    _agent().show(table, limit)


@cli.command()
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@_asking
def get(table: str, key: tuple[str, ...], **asking: Any) -> None:  # noqa: ARG001
    """One row, by its key.

    The key is one word per field, or one word with slashes: CLUSTER/IP. Exit status 1 if there is no such row.
    """
    _agent().get(table, key)


@cli.command("list")
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@click.option("-i", "--index", required=True, help="The index; 'statedb tables' names them.")
@click.option(
    "--match",
    type=click.Choice(["longest", "exact", "covering", "within"]),
    help="How an index of networks is asked (default: longest).",
)
@_asking
def list_(table: str, key: tuple[str, ...], index: str, match: str | None, **asking: Any) -> None:  # noqa: ARG001
    """The rows of a key of an index."""
    _agent().list(table, index, key, match)


@cli.command()
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@click.option("-i", "--index", help="An index; the primary key if not given.")
@_asking
def prefix(table: str, key: tuple[str, ...], index: str | None, **asking: Any) -> None:  # noqa: ARG001
    """The rows whose key begins like this.

    Leading fields, the beginning of a text key, or, for an index of networks, a network that they lie in.
    """
    _agent().prefix(table, index, key)


@cli.command()
@click.argument("table")
@click.argument("key", nargs=-1)
@click.option("--once", is_flag=True, help="End after the first change.")
@_asking
def watch(table: str, key: tuple[str, ...], *, once: bool, **asking: Any) -> None:  # noqa: ARG001
    """Print each change of a table or a row from now on, until Ctrl-C."""
    _agent().watch(table, key, once=once)


@cli.command()
@click.argument("table")
@_asking
def changes(table: str, **asking: Any) -> None:  # noqa: ARG001
    """Print all rows of a table, then each change, until Ctrl-C."""
    _agent().changes(table)


@cli.group(context_settings=_CONTEXT, invoke_without_command=True)
@_asking
@click.pass_context
def sources(ctx: click.Context, /, **asking: Any) -> None:  # noqa: ARG001
    """How the sources of the tables are doing."""
    if ctx.invoked_subcommand is None:
        _agent().show("sources", None)


@sources.command()
@click.option("--table", help="Only the source of this table (and the other tables that it fills).")
@click.option("--cluster", help="The sources of this cluster; those of the agent's own if not given.")
@_asking
def accept(table: str | None, cluster: str | None, **asking: Any) -> None:  # noqa: ARG001
    """Take what the sources see now for the truth: deletes withheld so far are carried out."""
    _agent().accept(table, cluster)


@cli.command()
@_asking
def consumers(**asking: Any) -> None:  # noqa: ARG001
    """How the consumers of an agent are doing."""
    _agent().consumers()


@cli.command()
@click.option("-f", "--file", metavar="FILE", help="Write there, at once and whole; else to standard output.")
@_server
def dump(file: str | None, **asking: Any) -> None:  # noqa: ARG001
    """All rows of an agent, at one instant, as JSON lines; 'statedb run --warm-start' begins with them."""
    _agent().dump(file)


@cli.command()
@click.argument("other", metavar="OTHER")
@click.option("--ignore", multiple=True, metavar="FIELD", help="A field that may differ, as 'source'; repeatable.")
@click.option("--settle", type=click.FloatRange(0.0), default=2.0, show_default=True, help="Seconds.")
@click.option("--timeout", type=click.FloatRange(0.0), default=60.0, show_default=True, help="Seconds.")
@_asking
def compare(other: str, ignore: tuple[str, ...], settle: float, timeout: float, **asking: Any) -> int:  # noqa: ARG001
    """What would change if a running agent were started with the configuration OTHER.

    The sources of OTHER fill tables of their own, here; the agent goes on as it is. Both may move meanwhile: a
    difference counts when it has lasted for --settle. Exit status 0: no difference. 1: there are some.
    """
    return _agent().compare(other, frozenset(ignore), settle, timeout)


@cli.command()
@click.option("--backend", type=click.Choice(["manifests", "kvstore"]), default="manifests", show_default=True)
@click.option("--keep", is_flag=True, help="Leave the agent running until Ctrl-C.")
def demo(backend: str, *, keep: bool) -> None:
    """See it work, in half a minute.

    An agent on an example cluster, manifests that change, a consumer that sees it, and queries.
    """
    import signal

    from ..demo.tour import demo as work
    from .output import say

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it cleans up as after Ctrl-C
    work(backend, keep=keep, say=say)


def main(arguments: list[str] | None = None) -> None:
    """The console script: exits with 0; 1 where there is no such row; 2 after any mistake, told in one line."""
    sys.exit(_status(arguments))


def _status(arguments: list[str] | None) -> int:
    try:
        status: Any = cli.main(arguments, prog_name="statedb", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "statedb"
        message = " ".join(error.format_message().split()).rstrip(".")
        return _told([f"{message}; see '{path} --help'"], 2)
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> int:
    from ..errors import AgentError, NoRow
    from ..process.config import ConfigError

    if isinstance(error, ConfigError | AgentError):
        return _told(str(error).splitlines(), 1 if isinstance(error, NoRow) else 2)
    if os.environ.get("STATEDB_DEBUG"):
        raise error
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return _told([f"internal error: {line}; set STATEDB_DEBUG=1 to see where"], 70)


def _told(lines: list[str], status: int) -> int:
    for line in lines:
        text = "".join(char if char.isprintable() else "?" for char in line)
        sys.stderr.write(f"statedb: {text}\n")
    return status


if __name__ == "__main__":
    main()
