"""What every demonstration does at a terminal: it shows commands with their output, and keeps the agent for a while."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..process.agent import Agent
from ..process.logs import shown_on_stderr

_STAYS_S = 600.0
_INDENT = "  "


def stay_time() -> float:
    """How many seconds the agent stays: ten minutes on a terminal, so that one can try what it prints; otherwise 0."""
    return _STAYS_S if sys.stdout.isatty() else 0.0


def show_command(address: str, arguments: Sequence[str], say: Callable[[str], None]) -> None:
    """Query the running agent with the real command, over HTTP, as a user would, and print command and output."""
    say(f"\n{_INDENT}$ statedb {' '.join(arguments)}")
    command = [sys.executable, "-P", "-m", "statedb", "--server", address, *arguments]
    narrower = {"STATEDB_WIDTH": str(shutil.get_terminal_size().columns - len(_INDENT))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | narrower)
    for line in (done.stdout + done.stderr).rstrip().splitlines():
        say(f"{_INDENT}{line}")


def keep_running(
    agent: Agent, stay_s: float | None, table: str, say: Callable[[str], None], *, first: str = "Ask it:"
) -> None:
    """Print how to query the agent, and its address at last. Return after ``stay_s`` seconds or Ctrl-C.

    None means until Ctrl-C. ``table`` is the one whose changes the printed command follows.
    """
    how_long = "until Ctrl-C" if stay_s is None else f"for {stay_s / 60:g} minutes, or until Ctrl-C"
    say(f"\nThe agent stays up {how_long}. {first}")
    for line in (*activation(), f"statedb --server {agent.address} changes {table}"):
        say(f"{_INDENT}{line}")
    say(f"\nOpen this in a browser:  {agent.address}/")
    with shown_on_stderr("info"), contextlib.suppress(KeyboardInterrupt):
        agent.join(stay_s)


def activation() -> list[str]:
    """What makes a shell find `statedb`, where it does not: ``make demo`` runs it from an environment of its own."""
    script = Path(sys.prefix) / "bin" / "activate"
    if shutil.which("statedb") or not script.exists():
        return []
    here = Path.cwd()
    return [f". {script.relative_to(here) if script.is_relative_to(here) else script}"]
