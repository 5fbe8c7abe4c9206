"""The command line, from click: what ``--help`` prints, command by command."""

from __future__ import annotations

from collections.abc import Iterator

import click

from statedb.agent.cli.main import cli

_WIDTH = 100


def markdown() -> str:
    """A section for each command."""
    root = click.Context(cli, info_name="statedb", max_content_width=_WIDTH, terminal_width=_WIDTH)
    return "\n".join(line for context in _contexts(root) for line in _section(context))


def _contexts(context: click.Context) -> Iterator[click.Context]:
    yield context
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _contexts(
                    click.Context(
                        below, parent=context, info_name=name, max_content_width=_WIDTH, terminal_width=_WIDTH
                    )
                )


def _section(context: click.Context) -> list[str]:
    text = click.unstyle(context.command.get_help(context))
    return [f"## `{context.command_path}`", "", "```text", *text.splitlines(), "```", ""]
