"""The command line: commands, options, exit statuses.

A command imports its implementation when it runs, so that ``--help`` does not wait for the imports of all sources.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import click

from ..errors import AgentError, NoRow
from ..wording import printable, suggestion
from .options import Seconds, agent_commands, complete_by, configured, remote_options, selecting, server
from .shadowing import shadowed_packages

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


_ENDLESS = ("changes", "watch", "top")
_INTERRUPTED = 130


_HINTS = (
    ("'-c'", "name a configuration, as in -c agent.yaml; 'statedb init' writes one"),
    ("'-i'", "'statedb tables' shows the indexes of each table"),
    (
        "unexpected extra argument",
        "'statedb get TABLE KEY' shows one row, and 'statedb prefix TABLE KEY' those below a key",
    ),
)
"""Parts of click's error messages, and a hint for each."""


class _Group(click.Group):
    """The commands, in the order in which a new user needs them."""

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
        """End quietly after Ctrl-C, and when standard output is closed: both are normal ends of a change stream.

        Other commands end with 130 after Ctrl-C, because their work is not finished.
        """
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt:
            return 0 if ctx.invoked_subcommand in _ENDLESS else _INTERRUPTED
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the last flush must not fail
            return 0


@click.group(cls=_Group, context_settings=_CONTEXT, invoke_without_command=True)
@server
@click.version_option(package_name="statedb", message="statedb %(version)s")
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:  # noqa: ARG001 - commands look it up in the context
    """In-memory tables of a cluster's state: run an agent that fills them, or query a running one."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cli.command()
@click.argument("folder", default=".", metavar="[FOLDER]")
@click.option(
    "--source",
    type=click.Choice(["manifests", "kubernetes", "kvstore", "clustermesh", "etcd"]),
    default="manifests",
    show_default=True,
    help="Where rows come from.",
)
def init(folder: str, source: str) -> None:
    """Write a commented configuration into a folder.

    The file is agent.yaml; for manifests an example cluster stands beside it. Files that exist are never overwritten.
    """
    from .local_commands import init as write_files  # start-up time: every source and consumer

    write_files(folder, source)


@cli.command()
@configured
@click.option("--warm-start", metavar="FILE", help="Begin with the rows that 'statedb dump -f' wrote there.")
def run(config: str, warm_start: str | None) -> None:
    """Run an agent until SIGTERM or Ctrl-C."""
    from .local_commands import run as run_agent  # start-up time: every source and consumer

    run_agent(config, warm_start)


@cli.command()
@configured
@click.option("--connect", is_flag=True, help="Also try each source once, and say which tables can be read.")
@click.option("--timeout", type=Seconds(), default=10.0, show_default=True, help="How long --connect waits.")
def check(config: str, *, connect: bool, timeout: float) -> int:
    """Check a configuration and explain what it means. With --connect: exit status 1 if a source cannot be read."""
    from .local_commands import check as check_config, connect as try_sources  # start-up time: every source

    check_config(config)
    return try_sources(config, timeout) if connect else 0


@cli.command()
@selecting
@remote_options
def tables(**options: Any) -> None:  # noqa: ARG001
    """Show the tables of an agent."""
    agent_commands().tables()


@cli.command()
@click.argument("table", shell_complete=complete_by("tables"))
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Show at most this many rows.")
@selecting
@remote_options
def show(table: str, limit: int | None, **options: Any) -> None:  # noqa: ARG001
    """Show all rows of a table."""
    agent_commands().show(table, limit)


@cli.command()
@click.argument("table", shell_complete=complete_by("tables"))
@click.argument("key", nargs=-1, required=True, shell_complete=complete_by("keys"))
@remote_options
def get(table: str, key: tuple[str, ...], **options: Any) -> None:  # noqa: ARG001
    """Show one row, by its key.

    The key is one word per field, or one word with slashes: CLUSTER/IP. Exit status 1 if there is no such row.
    """
    agent_commands().get(table, key)


@cli.command("list")
@click.argument("table", shell_complete=complete_by("tables"))
@click.argument("key", nargs=-1, required=True, shell_complete=complete_by("keys"))
@click.option("-i", "--index", required=True, shell_complete=complete_by("indexes"), help="See 'statedb tables'.")
@click.option(
    "--match",
    type=click.Choice(["longest", "exact", "covering", "within"]),
    help="How an index of networks is asked (default: longest).",
)
@selecting
@remote_options
def list_(table: str, key: tuple[str, ...], index: str, match: str | None, **options: Any) -> None:  # noqa: ARG001
    """Show the rows that an index has under a key."""
    agent_commands().list(table, index, key, match)


@cli.command()
@click.argument("table", shell_complete=complete_by("tables"))
@click.argument("key", nargs=-1, required=True, shell_complete=complete_by("keys"))
@click.option("-i", "--index", shell_complete=complete_by("indexes"), help="The primary key if not given.")
@selecting
@remote_options
def prefix(table: str, key: tuple[str, ...], index: str | None, **options: Any) -> None:  # noqa: ARG001
    """Show the rows whose key begins with these fields.

    Give leading fields, the beginning of a text key, or, for an index of networks, a network that contains them.
    """
    agent_commands().prefix(table, index, key)


@cli.command()
@click.argument("table", shell_complete=complete_by("tables"))
@click.argument("key", nargs=-1, shell_complete=complete_by("keys"))
@click.option("--once", is_flag=True, help="End after the first change.")
@remote_options
def watch(table: str, key: tuple[str, ...], *, once: bool, **options: Any) -> None:  # noqa: ARG001
    """Print each change from now on, until Ctrl-C.

    Of a table, or of one row.
    """
    agent_commands().watch(table, key, once=once)


@cli.command()
@click.argument("table", shell_complete=complete_by("tables"))
@remote_options
def changes(table: str, **options: Any) -> None:  # noqa: ARG001
    """Print all rows of a table, then each change, until Ctrl-C."""
    agent_commands().changes(table)


@cli.group(context_settings=_CONTEXT, invoke_without_command=True)
@selecting
@remote_options
@click.pass_context
def sources(ctx: click.Context, /, **options: Any) -> int:  # noqa: ARG001
    """Show the state of the sources of the tables.

    Exit status 0: all are in order. 1: one is not, or withholds deletes.
    """
    return agent_commands().sources() if ctx.invoked_subcommand is None else 0


@sources.command()
@click.option("--table", help="Only the source of this table (and the other tables that it fills).")
@click.option("--cluster", help="The sources of this cluster; those of the agent's own if not given.")
@remote_options
def accept(table: str | None, cluster: str | None, **options: Any) -> None:  # noqa: ARG001
    """Accept what the sources show now: carry out the deletes that were withheld."""
    agent_commands().accept(table, cluster)


@cli.command()
@selecting
@remote_options
def consumers(**options: Any) -> int:  # noqa: ARG001
    """Show the state of the consumers of an agent.

    Exit status 0: all are in order. 1: one is not, or is not ready yet.
    """
    return agent_commands().consumers()


@cli.command()
@click.option("--ready", is_flag=True, help="Whether it is ready: as /readyz, not as /healthz.")
@click.option("--fresh", is_flag=True, help="Whether it is ready and no table is stale.")
@server
def health(*, ready: bool, fresh: bool, **options: Any) -> int:  # noqa: ARG001
    """Say whether an agent works, for probes and scripts.

    Exit status 0: it works, is ready, or is fresh. 1: it does not, or is not; the line says why. 2: nobody answers.
    """
    return agent_commands().health(ready=ready, fresh=fresh)


@cli.command()
@click.argument("table", shell_complete=complete_by("tables"))
@click.argument("key", nargs=-1, shell_complete=complete_by("keys"))
@click.option("--for", "wanted", metavar="CONDITION", help="filled (default), rows=N, or with a key present or gone.")
@click.option("--timeout", type=Seconds(), default=60.0, show_default=True, help="How long to wait.")
@server
def wait(table: str, key: tuple[str, ...], wanted: str | None, timeout: float, **options: Any) -> int:  # noqa: ARG001
    """Wait for a table or a row.

    Until the table is filled, has so many rows, or has or lacks a row. Exit status 0: it is so. 1: it was not within
    --timeout. 2: nobody answered.
    """
    return agent_commands().wait(table, key, wanted, timeout)


@cli.command()
@click.option("--once", is_flag=True, help="Print one screen and end.")
@server
def top(*, once: bool, **options: Any) -> None:  # noqa: ARG001
    """Show the rates of an agent, live, until Ctrl-C."""
    agent_commands().top(once=once)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion of a shell.

    It completes commands, tables, indexes and keys. For bash: eval "$(statedb completion bash)". For fish: statedb
    completion fish | source.
    """
    from .completion import script  # start-up time

    click.echo(script(shell, cli))


@cli.command()
@click.option("-f", "--file", metavar="FILE", help="Write to this file, atomically (default: standard output).")
@server
def dump(file: str | None, **options: Any) -> None:  # noqa: ARG001
    """Write all rows of an agent as JSON lines.

    They are of one instant, and 'statedb run --warm-start' reads them.
    """
    agent_commands().dump(file)


@cli.command()
@click.argument("other", metavar="OTHER")
@click.option("--ignore", multiple=True, metavar="FIELD", help="A field that may differ, as 'source'; repeatable.")
@click.option("--settle", type=Seconds(), default=2.0, show_default=True, help="How long a row must differ to count.")
@click.option("--timeout", type=Seconds(), default=60.0, show_default=True, help="How long to compare at most.")
@remote_options
def compare(other: str, ignore: tuple[str, ...], settle: float, timeout: float, **options: Any) -> int:  # noqa: ARG001
    """Show what another configuration would change.

    It compares the rows of a running agent with those that it would have with the configuration OTHER. The sources of
    OTHER fill separate tables in this process; the agent is not affected. Both may change meanwhile, so
    a difference counts once it has lasted for --settle. Exit status 0: no differences. 1: there are some.
    """
    return agent_commands().compare(other, frozenset(ignore), settle, timeout)


@cli.command()
@click.option(
    "--backend", type=click.Choice(["manifests", "kvstore", "kubernetes"]), default="manifests", show_default=True
)
@click.option("--keep", is_flag=True, help="Leave the agent running until Ctrl-C.")
def demo(backend: str, *, keep: bool) -> None:
    """Watch it work, in some seconds.

    It runs an agent on an example cluster, changes manifests, follows the changes, and queries the agent. With
    --backend kubernetes it shows pods, deployments, services and nodes of the cluster that kubectl talks to. On a
    terminal the agent then stays for ten minutes, so that its web page can be opened.
    """
    from ..demo.api_server import run_on_api_server  # start-up time: every source and consumer
    from ..demo.terminal import stay_time  # start-up time: every source and consumer
    from ..demo.tour import run_demo  # start-up time: every source and consumer
    from .output import say  # start-up time: yaml

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it cleans up as after Ctrl-C
    if backend == "kubernetes":
        run_on_api_server(keep=keep, say=say, stay_s=stay_time())
    else:
        run_demo(backend, keep=keep, say=say, stay_s=stay_time())


def main(arguments: list[str] | None = None) -> None:
    """The console script. Exit status 0: success; 1: no such row, or a difference; 2: an error, in one line."""
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
        hints = [hint for words, hint in _HINTS if words in message]
        return _print_errors(["; ".join([message, *hints, f"see '{path} --help'"])], 2)
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
