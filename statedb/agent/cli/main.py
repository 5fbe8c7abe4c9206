"""The command line: commands, options, exit statuses.

A command imports its implementation when it runs, so that ``--help`` does not wait for the imports of all sources.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import AgentError, NoRow
from ..wording import printable, suggestion
from .shadowing import shadowed_packages

if TYPE_CHECKING:
    from .remote_commands import RemoteCommands

F = TypeVar("F", bound=Callable[..., Any])

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class _Group(click.Group):
    """The commands, in the order in which a newcomer needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is given
        """The commands in the order of their definition."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Raises UsageError with a suggestion for an unknown command."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"no command {args[0][:60]!r}; {suggestion(self.list_commands(ctx), args[0])}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """End quietly after Ctrl-C and when standard output is closed: both are normal ends of a change stream."""
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
def cli(ctx: click.Context, /, **options: Any) -> None:  # noqa: ARG001 - commands look it up in the context
    """In-memory tables of a cluster's state: run an agent that fills them, or query a running one."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _configured(command: F) -> F:
    return click.option("-c", "--config", required=True, metavar="FILE", help="The configuration, YAML.")(command)


def _remote_options(command: F) -> F:
    """Add the options of commands that query an agent. Each may also be given to the group above the command."""
    shape = click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        help="Columns for people (default), or JSON or YAML for programs.",
    )
    columns = click.option("--columns", metavar="A,B", help="Only these fields, in full.")
    return _server(shape(columns(command)))


def _remote_commands() -> RemoteCommands:
    """The agent and the output format, from the options of the command, else from those of the groups above it."""
    from .remote_commands import RemoteCommands  # start-up time: yaml, http.client

    context = click.get_current_context(silent=True)
    found: dict[str, Any] = {}
    while context is not None:
        for name in ("server", "output", "columns"):
            found[name] = found.get(name) or context.params.get(name)
        context = context.parent
    server = found["server"] or os.environ.get("STATEDB_SERVER") or "http://127.0.0.1:9974"
    return RemoteCommands(server=server, output=found["output"] or "table", columns=found["columns"])


@cli.command()
@click.argument("folder", default=".", metavar="[FOLDER]")
@click.option(
    "--source",
    type=click.Choice(["manifests", "kubernetes", "kvstore", "clustermesh"]),
    default="manifests",
    show_default=True,
    help="Where rows come from.",
)
def init(folder: str, source: str) -> None:
    """Write a commented configuration, agent.yaml, into a folder; for manifests with an example cluster.

    Files that exist are never overwritten.
    """
    from .local_commands import init as write_files  # start-up time: every source and consumer

    write_files(folder, source)


@cli.command()
@_configured
@click.option("--warm-start", metavar="FILE", help="Begin with the rows that 'statedb dump -f' wrote there.")
def run(config: str, warm_start: str | None) -> None:
    """Run an agent until SIGTERM or Ctrl-C."""
    from .local_commands import run as run_agent  # start-up time: every source and consumer

    run_agent(config, warm_start)


@cli.command()
@_configured
def check(config: str) -> None:
    """Check a configuration and explain what it means."""
    from .local_commands import check as check_config  # start-up time: every source and consumer

    check_config(config)


@cli.command()
@_remote_options
def tables(**options: Any) -> None:  # noqa: ARG001
    """Show the tables of an agent."""
    _remote_commands().tables()


@cli.command()
@click.argument("table")
@click.option("--limit", type=click.IntRange(1, 999_999_999), help="Show at most this many rows.")
@_remote_options
def show(table: str, limit: int | None, **options: Any) -> None:  # noqa: ARG001
    """Show all rows of a table."""
    _remote_commands().show(table, limit)


@cli.command()
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@_remote_options
def get(table: str, key: tuple[str, ...], **options: Any) -> None:  # noqa: ARG001
    """Show one row, by its key.

    The key is one word per field, or one word with slashes: CLUSTER/IP. Exit status 1 if there is no such row.
    """
    _remote_commands().get(table, key)


@cli.command("list")
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@click.option("-i", "--index", required=True, help="The index; 'statedb tables' names them.")
@click.option(
    "--match",
    type=click.Choice(["longest", "exact", "covering", "within"]),
    help="How an index of networks is asked (default: longest).",
)
@_remote_options
def list_(table: str, key: tuple[str, ...], index: str, match: str | None, **options: Any) -> None:  # noqa: ARG001
    """Show the rows that an index has under a key."""
    _remote_commands().list(table, index, key, match)


@cli.command()
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@click.option("-i", "--index", help="An index; the primary key if not given.")
@_remote_options
def prefix(table: str, key: tuple[str, ...], index: str | None, **options: Any) -> None:  # noqa: ARG001
    """Show the rows whose key begins with these fields.

    Give leading fields, the beginning of a text key, or, for an index of networks, a network that contains them.
    """
    _remote_commands().prefix(table, index, key)


@cli.command()
@click.argument("table")
@click.argument("key", nargs=-1)
@click.option("--once", is_flag=True, help="End after the first change.")
@_remote_options
def watch(table: str, key: tuple[str, ...], *, once: bool, **options: Any) -> None:  # noqa: ARG001
    """Print each change of a table or a row from now on, until Ctrl-C."""
    _remote_commands().watch(table, key, once=once)


@cli.command()
@click.argument("table")
@_remote_options
def changes(table: str, **options: Any) -> None:  # noqa: ARG001
    """Print all rows of a table, then each change, until Ctrl-C."""
    _remote_commands().changes(table)


@cli.group(context_settings=_CONTEXT, invoke_without_command=True)
@_remote_options
@click.pass_context
def sources(ctx: click.Context, /, **options: Any) -> None:  # noqa: ARG001
    """Show the state of the sources of the tables."""
    if ctx.invoked_subcommand is None:
        _remote_commands().show("sources", None)


@sources.command()
@click.option("--table", help="Only the source of this table (and the other tables that it fills).")
@click.option("--cluster", help="The sources of this cluster; those of the agent's own if not given.")
@_remote_options
def accept(table: str | None, cluster: str | None, **options: Any) -> None:  # noqa: ARG001
    """Accept what the sources show now: carry out the deletes that were withheld."""
    _remote_commands().accept(table, cluster)


@cli.command()
@_remote_options
def consumers(**options: Any) -> None:  # noqa: ARG001
    """Show the state of the consumers of an agent."""
    _remote_commands().consumers()


@cli.command()
@click.option("--ready", is_flag=True, help="Whether it is ready: as /readyz, not as /healthz.")
@_server
def health(*, ready: bool, **options: Any) -> int:  # noqa: ARG001
    """Say whether an agent works, for probes and scripts.

    Exit status 0: it works, or is ready. 1: it does not, or is not; the line says why. 2: nobody answers.
    """
    return _remote_commands().health(ready=ready)


@cli.command()
@click.option("-f", "--file", metavar="FILE", help="Write to this file, atomically (default: standard output).")
@_server
def dump(file: str | None, **options: Any) -> None:  # noqa: ARG001
    """Write all rows of an agent, at one instant, as JSON lines; 'statedb run --warm-start' reads them."""
    _remote_commands().dump(file)


@cli.command()
@click.argument("other", metavar="OTHER")
@click.option("--ignore", multiple=True, metavar="FIELD", help="A field that may differ, as 'source'; repeatable.")
@click.option("--settle", type=click.FloatRange(0.0), default=2.0, show_default=True, help="Seconds.")
@click.option("--timeout", type=click.FloatRange(0.0), default=60.0, show_default=True, help="Seconds.")
@_remote_options
def compare(other: str, ignore: tuple[str, ...], settle: float, timeout: float, **options: Any) -> int:  # noqa: ARG001
    """Show what would change if a running agent were started with the configuration OTHER.

    The sources of OTHER fill separate tables in this process; the agent is not affected. Both may change meanwhile, so
    a difference counts once it has lasted for --settle. Exit status 0: no differences. 1: there are some.
    """
    return _remote_commands().compare(other, frozenset(ignore), settle, timeout)


@cli.command()
@click.option(
    "--backend", type=click.Choice(["manifests", "kvstore", "kubernetes"]), default="manifests", show_default=True
)
@click.option("--keep", is_flag=True, help="Leave the agent running until Ctrl-C.")
def demo(backend: str, *, keep: bool) -> None:
    """Watch it work, in half a minute.

    It runs an agent on an example cluster, changes manifests, follows the changes, and queries the agent. With
    --backend kubernetes it shows pods, deployments, services and nodes of the cluster that kubectl talks to.
    """
    from ..demo.api_server import run_on_api_server  # start-up time: every source and consumer
    from ..demo.tour import run_demo  # start-up time: every source and consumer
    from .output import say  # start-up time: yaml

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it cleans up as after Ctrl-C
    if backend == "kubernetes":
        run_on_api_server(keep=keep, say=say)
    else:
        run_demo(backend, keep=keep, say=say)


def main(arguments: list[str] | None = None) -> None:
    """The console script. Exit status 0: done; 1: no such row, or a difference; 2: an error, explained in one line."""
    sys.exit(_status(arguments))


def _status(arguments: list[str] | None) -> int:
    shadowed = shadowed_packages()
    if shadowed:
        return _print_errors(shadowed, 2)
    try:
        status: Any = cli.main(arguments, prog_name="statedb", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "statedb"
        message = " ".join(error.format_message().split()).rstrip(".")
        return _print_errors([f"{message}; see '{path} --help'"], 2)
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> int:
    if isinstance(error, AgentError):
        return _print_errors(str(error).splitlines(), 1 if isinstance(error, NoRow) else 2)
    if os.environ.get("STATEDB_DEBUG"):
        raise error
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return _print_errors([f"internal error: {line}; set STATEDB_DEBUG=1 to see where"], 70)


def _print_errors(lines: list[str], status: int) -> int:
    for line in lines:
        sys.stderr.write(f"statedb: {printable(line)}\n")
    return status


if __name__ == "__main__":
    main()
