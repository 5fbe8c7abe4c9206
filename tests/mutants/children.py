"""One mutant, one process: forked from a parent that has imported everything but the store."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.stateful  # noqa: F401
import msgspec  # noqa: F401
import pytest
import sortedcontainers  # noqa: F401

from .changes import Mutant

ROOT = Path(__file__).parents[2]
ENGINE = "statedb.engine."
CPU_S = 1800
"""A mutant that loops for ever: more than the longest list of tests takes."""
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+::[^\n]*?)(?: - .*)?$", re.MULTILINE)
_OPTIONS: tuple[str, ...] = (
    "-x",
    "--tb=short",
    "--timeout=60",
    "--timeout-method=signal",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
)
_OPTIONS += ("--assert=plain",)  # rewriting the tests takes longer than most of them
_OPTIONS += ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # what was imported before the fork
KILLED, LIVES, HANGS = "killed", "lives", "hangs"


class _Mutated(importlib.abc.Loader):
    def __init__(self, path: Path, tree: Any) -> None:
        self._path = path
        self._tree = tree

    def exec_module(self, module: Any) -> None:
        exec(compile(self._tree, str(self._path), "exec"), module.__dict__)


class _Finder(importlib.abc.MetaPathFinder):
    """Gives one module changed, from the tree of a mutant."""

    def __init__(self, module: str, mutant: Mutant) -> None:
        self._name = ENGINE + module
        self._path = ROOT / "statedb" / "engine" / f"{module}.py"
        self._mutant = mutant

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self._name:
            return None
        loader = _Mutated(self._path, self._mutant.tree)
        return importlib.machinery.ModuleSpec(name, loader, origin=str(self._path))


def start(module: str, mutant: Mutant | None, tests: list[str], log: Path, timeout_s: int) -> int:
    """Fork a process that runs these tests with the mutant, the first failure ends it; its number."""
    number = os.fork()
    if number:
        return number
    code = 3
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        for name in list(sys.modules):
            if name.partition(".")[0] in ("statedb", "tests", "ingest", "consumers"):
                del sys.modules[name]
        if mutant is not None:
            sys.meta_path.insert(0, _Finder(module, mutant))
        sys.dont_write_bytecode = True
        code = int(pytest.main([*_OPTIONS, f"--timeout={timeout_s}", *tests]))
    except BaseException as error:
        print(repr(error))
    finally:
        sys.stdout.flush()
        os._exit(code)


class Child:
    """A mutant under test, and for how long."""

    def __init__(self, module: str, mutant: Mutant, tests: list[str], log: Path, limit_s: tuple[int, int]) -> None:
        """``limit_s`` is the time of one test, and that of all. A machine at its limits takes many times as long as
        another, and a test that is out of time counts as failed."""
        self.module = module
        self.mutant = mutant
        self.log = log
        self.number = start(module, mutant, tests, log, limit_s[0])
        self._end = time.monotonic() + limit_s[1]

    def outcome(self) -> str | None:
        """What came of it; None while it runs."""
        number, status = os.waitpid(self.number, os.WNOHANG)
        if number:
            code = os.waitstatus_to_exitcode(status)
            return LIVES if code == 0 else HANGS if code == -signal.SIGXCPU else KILLED
        if time.monotonic() < self._end:
            return None
        os.killpg(self.number, signal.SIGKILL)
        os.waitpid(self.number, 0)
        return HANGS

    def killer(self) -> str | None:
        """The test that failed, if one did, once there is an outcome."""
        found = _FAILED.search(self.log.read_text(errors="replace"))
        return found[1] if found else None
