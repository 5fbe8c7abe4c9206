"""The commands that pages show exist, with the options that they show. Nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from statedb.agent.cli.main import cli

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = re.compile(r"^(?:    |\s*\$ )\s*(?:[A-Z_]+=\S+ )?(?P<command>statedb [-a-z].*)$", re.MULTILINE)
ENDS = {"&&", ";", "|", ">", "&", "#"}


def commands(page: Path) -> Iterator[list[str]]:
    """The words behind ``statedb`` of each command in a block of the page."""
    text = re.sub(r"^```(?!console).*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for found in SHOWN.finditer(text):
        words = shlex.split(found["command"], comments=True)[1:]
        end = next((at for at, word in enumerate(words) if word in ENDS), len(words))
        yield words[:end]


def fault(words: list[str]) -> str:
    """What click says of these words, or nothing."""
    command: click.Command = cli
    context = click.Context(cli, info_name="statedb")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        below = command.get_command(context, words[0])
        if below is None:
            break
        command, words = below, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    try:
        command.make_parser(context).parse_args(list(words))
    except click.UsageError as error:
        return error.format_message()
    return f"no such command: {words[0]}" if command is cli and words and not words[0].startswith("-") else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_and_options_exist(page: Path):
    found = {" ".join(words): fault(words) for words in commands(page)}
    assert {shown: said for shown, said in found.items() if said} == {}


def test_commands_are_found_and_faults_too():
    assert sum(len(list(commands(page))) for page in PAGES) > 25
    assert "no such command" in fault(["shwo", "nodes"])
    assert "No such option" in fault(["show", "nodes", "--no-such"])
    assert fault(["sources", "accept", "--cluster", "c2"]) == ""
