"""What a terminal shows of work that takes over a second."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from statedb.agent.cli import progress

from .conftest import WAIT_S, config_text

ERASE = "\r\x1b[K"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """One on which everything takes too long."""
    found = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=found))
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    monkeypatch.setattr(progress, "_EVERY_S", 0.0)
    return found


def test_lines_are_counted(terminal: Terminal):
    assert list(progress.counted([b"a", b"b"], "rows")) == [b"a", b"b"]
    assert terminal.getvalue() == f"{ERASE}1 rows{ERASE}2 rows{ERASE}"


def test_a_line_of_the_log_comes_in_its_place(terminal: Terminal):
    with progress.shown() as show:
        show(lambda: "x" * 200)
        progress.erase()
        terminal.write("a line\n")
        progress.erase()
        show(lambda: "again")
    assert terminal.getvalue() == f"{ERASE}{'x' * 79}{ERASE}a line\n{ERASE}again{ERASE}"


def test_what_only_takes_time_is_told_with_the_time(terminal: Terminal):
    with progress.busy("reading"):
        while "reading ... 0 s" not in terminal.getvalue():
            threading.Event().wait(0.001)
    assert terminal.getvalue().endswith(ERASE)


def test_nothing_is_shown_where_it_is_quick_or_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal
):
    monkeypatch.setattr(progress, "_DELAY_S", WAIT_S)
    with progress.busy("reading"), progress.shown() as show:
        show(lambda: "soon")
        assert list(progress.counted([b"a"], "rows")) == [b"a"]
    assert terminal.getvalue() == ""
    file = io.StringIO()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=file))
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    with progress.busy("reading"), progress.shown() as show:
        show(lambda: "soon")
        assert list(progress.counted([b"a"], "rows")) == [b"a"]
    assert file.getvalue() == ""


def on_a_terminal(*arguments: str) -> tuple[int, str]:
    """The exit status of the command, and what it writes to a terminal that is its standard error."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "statedb", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        told = b""
        while piece := _read(ours):
            told += piece
        os.close(ours)
        return process.wait(WAIT_S), told.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # nobody has the other end any more
        return b""


def test_a_first_list_that_takes_long_is_told_by_table(tmp_path: Path):
    config = tmp_path / "agent.yaml"
    config.write_text(config_text(tmp_path / "none"))
    status, told = on_a_terminal("check", "-c", str(config), "--connect", "--timeout", "1.5")
    assert status == 1
    assert re.search(r"\r\x1b\[Kreading: nodes 0, identities 0, ", told)
    assert told.endswith(ERASE)
